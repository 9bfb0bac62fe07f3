"""Metrics agree with scikit-learn, and with counting by hand; rankings with each other."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from core.attribution.evaluation.metrics import (
    agreement,
    average_precision,
    enrichment_at,
    overlap_at,
    precision_at,
    rank_correlation,
    recall_at,
)

UP = np.arange(10.0)
SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30)


@given(SCORED.filter(lambda rows: any(hit for _, hit in rows)))
def test_average_precision_agrees_with_scikit_learn_ties_included(rows):
    scores, planted = np.array([s for s, _ in rows], float), np.array([hit for _, hit in rows])
    expected = average_precision_score(planted, scores)
    assert average_precision(scores, planted) == pytest.approx(expected)


@given(SCORED)
def test_metrics_do_not_depend_on_the_order_of_the_pairs(rows):
    scores, planted = np.array([s for s, _ in rows], float), np.array([hit for _, hit in rows])
    k = (len(rows) + 1) // 2
    turned = precision_at(scores[::-1], planted[::-1], k)
    assert precision_at(scores, planted, k) == pytest.approx(turned)


def test_the_first_k_are_counted():
    scores, planted = np.array([9.0, 8, 7, 6]), np.array([True, False, True, False])
    assert precision_at(scores, planted, 2) == 0.5
    assert recall_at(scores, planted, 3) == 1
    assert enrichment_at(scores, planted, 1) == 2


def test_undefined_scores_rank_last():
    planted = np.array([True, False, False])
    assert average_precision(np.array([np.nan, 0.1, -5]), planted) == pytest.approx(1 / 3)


def test_one_score_for_all_is_worth_the_base_rate():
    planted = np.arange(20) < 4
    assert average_precision(np.zeros(20), planted) == pytest.approx(0.2)
    assert enrichment_at(np.zeros(20), planted, 5) == pytest.approx(1)


def test_nothing_planted_has_no_average_precision():
    assert np.isnan(average_precision(np.ones(3), np.zeros(3, bool)))


@pytest.mark.parametrize("k", [0, 4])
def test_a_k_outside_the_ranking_is_refused(k):
    with pytest.raises(ValueError, match=r"not one of 1\.\.3"):
        precision_at(np.ones(3), np.ones(3, bool), k)


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
