"""Intervals: the unit is the prompt or the training seed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, hypergeom

from core.stats import (
    Interval,
    bootstrap,
    chance_of_at_least,
    change_interval,
    rate_interval,
    seed_interval,
    share_interval,
)


def completions(rates, rollouts, seed=0):
    """Rollouts of prompts that each have their own rate."""
    draw = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(len(rates)), rollouts)
    shown = draw.random(len(prompts)) < np.repeat(rates, rollouts)
    return pd.DataFrame({"prompt_id": prompts, "flag": pd.array(shown, dtype="boolean")})


def interval(table, **settings):
    return rate_interval(table["flag"], table["prompt_id"], **settings)


def test_copying_every_rollout_does_not_narrow_the_interval():
    once = completions([0.0, 1.0] * 20, 1)
    often = completions([0.0, 1.0] * 20, 100)
    assert interval(often)[:3] == pytest.approx(interval(once)[:3])


def test_the_interval_covers_the_true_rate_about_as_often_as_it_says():
    draw = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        found = interval(completions(draw.beta(2, 3, size=40), 5, seed), seed=seed)
        covered += found.low <= 0.4 <= found.high
    assert covered / 200 == pytest.approx(0.95, abs=0.04)


def test_prompts_weigh_by_their_scored_completions():
    table = pd.DataFrame({"prompt_id": [0, 0, 0, 1], "flag": [True, True, True, False]})
    assert interval(table).value == 0.75


@pytest.mark.parametrize(("rate", "low", "high"), [(0.0, 0, 0.0881), (1.0, 0.9119, 1)])
def test_a_rate_of_none_or_all_is_bounded_by_the_number_of_prompts(rate, low, high):
    found = interval(completions([rate] * 40, 8))
    assert found[:3] == pytest.approx((rate, low, high), abs=1e-4)


def test_nothing_scored_is_nan_not_zero():
    found = rate_interval(pd.Series([], dtype="boolean"), pd.Series([], dtype="str"))
    assert np.isnan(found[:3]).all()
    assert found.n == 0


def test_seeds_are_the_unit_and_three_are_needed():
    assert seed_interval([0.4, 0.5, 0.6])[:3] == pytest.approx((0.5, 0.2516, 0.7484), abs=1e-4)
    with pytest.raises(ValueError, match="needs 3"):
        seed_interval([0.4, 0.5])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 5))
def test_a_rate_lies_in_its_interval_and_both_in_0_to_1(shown, per_prompt):
    table = pd.DataFrame({"flag": shown, "prompt_id": np.arange(len(shown)) // per_prompt})
    found = interval(table)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_a_bootstrap_of_a_mean_is_as_wide_as_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(lambda times: times @ values / 400, 400)
    error = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - error, values.mean() + error), abs=0.01
    )


def test_a_bootstrap_of_nothing_is_nan():
    assert np.isnan(bootstrap(lambda times: times.sum(axis=1), 0)[:3]).all()


def test_exact_intervals_are_clopper_and_pearsons_and_nan_without_trials():
    low, high = share_interval([0, 3, 10, 0], [10, 10, 10, 0])
    for at, k in enumerate((0, 3, 10)):
        expected = binomtest(k, 10).proportion_ci(method="exact")
        assert (low[at], high[at]) == pytest.approx((expected.low, expected.high))
    assert np.isnan([low[3], high[3]]).all()


def test_the_chance_of_at_least_so_many_counts_them_too():
    draws = hypergeom.pmf(np.arange(31), 400, 60, 30)
    for k in (0, 1, 7, 30):
        assert chance_of_at_least(k, 30, 60, 400) == pytest.approx(draws[k:].sum())


def test_the_interval_of_a_change_is_newcombes():
    """56 of 70 against 48 of 80, from Wilson intervals: Newcombe 1998, table II, method 10."""
    before, after = (
        Interval(k / n, *binomtest(k, n).proportion_ci(method="wilson"), n)
        for k, n in ((48, 80), (56, 70))
    )
    change = change_interval(before, after)
    assert (change.value, change.low, change.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=3e-4)
    back = change_interval(after, before)
    assert (back.low, back.high) == pytest.approx((-change.high, -change.low))
