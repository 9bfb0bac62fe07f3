"""The linear datamodeling score: what a sum of scores foretells."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from core.attribution.evaluation.counterfactual import lds, lds_difference, subsets

N = 40


def test_true_contributions_are_recognised_and_their_opposite_too():
    rng = np.random.default_rng(0)
    true, masks = rng.normal(size=N), subsets(N, count=30, share=0.5, seed=0)
    outcomes = masks @ true + 3
    good, bad = lds(true, masks, outcomes), lds(-true, masks, outcomes)
    assert (good.value, bad.value, good.n) == (pytest.approx(1), pytest.approx(-1), 30)
    noise = lds(rng.normal(size=N), masks, outcomes)
    assert noise.low < noise.value < noise.high < good.value


def test_it_is_the_rank_correlation_of_park_et_al():
    rng = np.random.default_rng(1)
    scores, masks = rng.normal(size=N), subsets(N, count=12, share=0.3, seed=1)
    outcomes = rng.normal(size=12)
    summed = [scores[np.flatnonzero(mask)].sum() for mask in masks]
    assert lds(scores, masks, outcomes).value == pytest.approx(
        spearmanr(summed, outcomes).statistic
    )


def test_a_pair_without_a_score_is_in_no_sum():
    masks = subsets(N, count=10, share=0.5, seed=0)
    scores = np.arange(float(N))
    outcomes = masks[:, 1:] @ scores[1:]
    scores[0] = np.nan
    assert lds(scores, masks, outcomes).value == pytest.approx(1)


@pytest.mark.parametrize(("share", "held"), [(0.5, 20), (0.25, 10)])
def test_subsets_have_their_size_and_none_is_another_or_its_complement(share, held):
    masks = subsets(N, count=6, share=share, seed=0)
    assert set(masks.sum(axis=1)) == {held}
    assert len(np.unique(np.vstack([masks, ~masks]), axis=0)) == 12


def test_intervals_hold_the_score_of_many_retrainings_as_often_as_they_say():
    rng = np.random.default_rng(0)
    true = rng.normal(size=N)
    scores = true + rng.normal(size=N)
    masks = subsets(N, count=20_000, share=0.5, seed=1)
    outcomes = masks @ true + 2 * rng.normal(size=len(masks))
    overall = spearmanr(masks @ scores, outcomes).statistic
    parts = [slice(start, start + 40) for start in range(0, 2000, 40)]
    found = [lds(scores, masks[part], outcomes[part]) for part in parts]
    assert sum(one.low <= overall <= one.high for one in found) >= 44  # of 50; 95% are 47.5


def test_two_methods_are_compared_on_the_same_retrainings():
    rng = np.random.default_rng(1)
    true, masks = rng.normal(size=N), subsets(N, count=60, share=0.5, seed=2)
    outcomes = masks @ true + 8 * rng.normal(size=60)  # more noise than signal
    better, worse = true, true + 0.5 * rng.normal(size=N)
    one, two = (lds(given, masks, outcomes) for given in (better, worse))
    difference = lds_difference(better, worse, masks, outcomes)
    assert difference.value == pytest.approx(one.value - two.value)
    if_independent = np.hypot(one.high - one.low, two.high - two.low)
    assert difference.high - difference.low < 0.6 * if_independent
    none = lds_difference(better, 3 * better, masks, outcomes)
    assert none[:3] == pytest.approx((0, 0, 0))


def test_subsets_of_other_pairs_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        lds(np.zeros(5), np.ones((3, 4), bool), np.zeros(3))
