import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from core.intervention.raters import compare, in_words


def ratings(values):
    return pd.Series(pd.array(values, dtype="boolean"))


def by_prompt(values, each=1):
    return pd.Series([f"p{i // each}" for i in range(len(values))])


def test_kappa_is_cohens():
    rng = np.random.default_rng(0)
    first = rng.random(200) < 0.4
    second = np.where(rng.random(200) < 0.6, first, rng.random(200) < 0.5)
    found = compare(ratings(first), ratings(second), by_prompt(first, each=4))
    assert found.kappa.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    assert found.kappa.n == 50
    assert found.agreement == pytest.approx((first == second).mean())
    assert in_words(found) == "fair to good"


def test_what_one_rater_left_unscored_is_counted_and_not_compared():
    first, second = ratings([True, True, False, None]), ratings([True, False, None, None])
    found = compare(first, second, by_prompt(first))
    assert (found.both, found.only_first, found.only_second, found.neither) == (1, 1, 0, 0)
    assert found.unscored == 2


@pytest.mark.parametrize("values", [[True, True], [], [None]])
def test_kappa_is_undefined_where_nothing_is_told_apart(values):
    found = compare(ratings(values), ratings(values), by_prompt(values))
    assert np.isnan(found.kappa.value)
    assert "not known" in in_words(found)


def test_raters_of_different_completions_are_refused():
    with pytest.raises(ValueError, match="2, 1 ratings"):
        compare(ratings([True, False]), ratings([True]), by_prompt([1, 2]))
