"""Two rankings of the same pairs: how far they agree."""

import numpy as np
import pandas as pd
import pytest

from core.attribution.evaluation.agreement import agreement, overlap_at, rank_correlation

UP = np.arange(10.0)


def test_a_ranking_agrees_with_itself_and_opposes_its_reverse():
    assert rank_correlation(UP, UP**3) == pytest.approx(1)
    assert rank_correlation(UP, -UP) == pytest.approx(-1)
    assert (overlap_at(UP, UP**3, 4), overlap_at(UP, -UP, 4)) == (1, 0)


def test_undefined_pairs_are_left_out_and_counted():
    holes = UP.copy()
    holes[[2, 9]] = np.nan
    assert rank_correlation(UP, holes) == pytest.approx(1)
    assert overlap_at(UP, holes, 2) == 0.5  # 9 and 8 against 8 and 7
    found = agreement(pd.DataFrame({"a": UP, "b": holes, "c": -UP}), k=3)
    assert found[["one", "other"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert found["n"].tolist() == [8, 10, 8]


def test_a_method_that_ranks_nothing_agrees_with_none():
    assert np.isnan(rank_correlation(UP, np.ones(10)))


def test_more_pairs_than_there_are_is_refused():
    with pytest.raises(ValueError, match="k 11 is not one of"):
        overlap_at(UP, UP, 11)
