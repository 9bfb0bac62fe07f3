"""The linear datamodeling score: what a sum of scores foretells."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from core.attribution.datamodels import lds, subsets

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


def test_halves_come_with_their_complements():
    masks = subsets(N, count=6, share=0.5, seed=0)
    np.testing.assert_array_equal(masks[0::2], ~masks[1::2])
    assert set(subsets(N, count=5, share=0.25, seed=0).sum(axis=1)) == {10}


def test_subsets_of_other_pairs_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        lds(np.zeros(5), np.ones((3, 4), bool), np.zeros(3))
