"""Intervals: the unit is the prompt, the pair of prompts, or the training seed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.stats import paired_difference, rate_interval, seed_interval


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


def test_pairing_by_prompt_is_narrower_where_prompts_differ_more_than_arms():
    rates = np.linspace(0.05, 0.95, 60)
    arm, other = completions(rates - 0.05, 50, 1), completions(rates + 0.05, 50, 2)
    paired = paired_difference(arm, other, "flag")
    apart = interval(arm), interval(other)
    assert paired.high < 0
    assert paired.high - paired.low < 0.5 * (apart[0].high - apart[0].low)


def test_pairing_ignores_prompts_and_completions_that_only_one_arm_scored():
    arm, other = completions([0.5] * 10, 4, 1), completions([0.5] * 12, 4, 2)
    other.loc[other["prompt_id"] == 3, "flag"] = pd.NA
    assert paired_difference(arm, other, "flag").n == 9


def test_arms_without_a_shared_prompt_cannot_be_paired():
    arm, other = completions([0.5], 4), completions([0.5], 4).assign(prompt_id=7)
    with pytest.raises(ValueError, match="share no scored prompt"):
        paired_difference(arm, other, "flag")


def test_a_difference_changes_sign_when_the_arms_change_places():
    arm, other = completions([0.2] * 30, 4, 1), completions([0.6] * 30, 4, 2)
    there, back = paired_difference(arm, other, "flag"), paired_difference(other, arm, "flag")
    assert back[:3] == pytest.approx((-there.value, -there.high, -there.low))


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
