"""A cut is found where scores fall apart, without knowing what they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.attribution.threshold import suggest

SCORES = st.lists(st.floats(-1, 1, allow_nan=False, width=32) | st.just(float("nan")), max_size=40)


@pytest.mark.parametrize("planted", [30, 250])
def test_a_planted_group_of_high_scores_is_cut_off(planted):
    rng = np.random.default_rng(0)
    rest = np.abs(rng.normal(scale=0.1, size=3000 - planted))
    scores = np.concatenate([rest, rng.normal(0.75, 0.08, planted)])
    assert suggest(scores).k == pytest.approx(planted, rel=0.05)


def test_a_group_that_stands_apart_separates_better_than_an_even_slope():
    rng = np.random.default_rng(0)
    even = rng.uniform(size=1000)
    apart = np.concatenate([rng.uniform(0, 0.1, 700), rng.uniform(0.8, 0.9, 300)])
    assert suggest(apart).separation > 0.95 > suggest(even).separation


@given(SCORES)
def test_the_threshold_takes_exactly_k_positive_scores(values):
    scores = np.array(values, np.float64)
    cut = suggest(scores)
    assert int((scores >= cut.threshold).sum()) == cut.k
    assert cut.k <= int((scores > 0).sum())


def test_nothing_positive_means_nothing_to_take():
    assert suggest(np.array([-0.5, 0.0, np.nan])).k == 0


def test_equal_scores_are_not_divided():
    assert suggest(np.array([0.5, 0.5, 0.5])).k == 3
