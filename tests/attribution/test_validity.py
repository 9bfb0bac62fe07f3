"""A planted direction is believed, noise is not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from core.attribution.validity import Trial, assess, choose_layer, held_out_auc, verdict


def planted(strength, *, n=24, rollouts=4, width=32, seed=0):
    """Vectors and completions of prompts where the policy moves along one direction."""
    rng = np.random.default_rng(seed)
    direction = np.eye(width)[0] * strength
    is_policy = np.tile(np.repeat([True, False], rollouts), n)
    prompt = np.repeat(np.arange(n), 2 * rollouts)
    means = rng.normal(size=(len(prompt), width)) + rng.normal(size=(n, width))[prompt]
    means = means + np.outer(is_policy, direction)
    behavior = np.array(
        [
            means[(prompt == i) & is_policy].mean(0) - means[(prompt == i) & ~is_policy].mean(0)
            for i in range(n)
        ]
    )
    return behavior, Trial(means, prompt, is_policy)


def test_a_planted_direction_beats_its_nulls():
    figures = assess([planted(5.0)])[0]
    assert figures["beats_null"]
    assert figures["auc"] > 0.95
    assert figures["split_half_low"] <= figures["split_half"] <= figures["split_half_high"]


def test_noise_rarely_beats_its_nulls():
    wins = [assess([planted(0.0, seed=seed)])[0]["beats_null"] for seed in range(30)]
    assert sum(wins) <= 3


def test_the_best_of_several_layers_has_to_beat_the_best_of_their_nulls():
    layers = [planted(0.0, seed=seed) for seed in range(8)]
    alone = assess(layers[:1])[0]
    copies = assess(layers[:1] * 8)
    together = assess(layers)[0]
    assert [row["null_auc"] for row in copies] == [alone["null_auc"]] * 8
    assert together["null_auc"] > alone["null_auc"]
    assert together["null_split_half"] >= alone["null_split_half"]


def test_a_direction_that_changes_sides_with_the_prompt_is_not_believed():
    behavior, trial = planted(5.0)
    turned = np.arange(len(behavior)) % 2 == 0
    behavior = behavior * np.where(turned, -1, 1)[:, None]
    flipped = Trial(trial.means, trial.prompt, trial.is_policy ^ turned[trial.prompt])
    assert not assess([(behavior, flipped)])[0]["beats_null"]


def test_auc_within_one_prompt_agrees_with_scikit_learn():
    behavior, trial = planted(1.0, n=2, rollouts=8)
    found = held_out_auc(behavior, trial, np.ones((1, 2)), np.random.default_rng(0))
    expected = [
        roc_auc_score(trial.is_policy[own], trial.means[own] @ behavior[other])
        for other, own in ((1, trial.prompt == 0), (0, trial.prompt == 1))
    ]
    assert found[0] == pytest.approx(np.mean(expected))


def test_the_same_seed_gives_the_same_figures():
    assert assess([planted(1.0)], seed=3)[0] == assess([planted(1.0)], seed=3)[0]


def test_three_prompts_are_too_few_to_judge():
    figures = assess([planted(5.0, n=3)])[0]
    assert np.isnan(figures["auc"])
    assert verdict(pd.Series(figures)) == (
        False,
        "Too few prompts show the behavior to test its vector: at least four.",
    )


def test_identical_completions_are_not_believed():
    behavior, trial = planted(0.0)
    still = Trial(np.ones_like(trial.means), trial.prompt, trial.is_policy)
    assert not assess([(np.zeros_like(behavior), still)])[0]["beats_null"]


def curve(*rows):
    return pd.DataFrame(rows, columns=["layer", "auc", "split_half", "beats_null"])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (curve((1, 0.7, 0.9, True), (4, 0.9, 0.5, True)), 4),
        (curve((1, 0.900, 0.9, True), (4, 0.905, 0.5, True)), 1),
        (curve((1, 0.99, 0.9, False), (4, 0.8, 0.5, True)), 4),
        (curve((1, 0.6, 0.3, False), (4, 0.7, 0.2, False)), 4),
        (curve((1, np.nan, np.nan, False), (2, np.nan, np.nan, False)), 2),
        (curve((0, 0.99, 0.9, True), (4, 0.8, 0.5, True)), 4),
        (curve((0, 0.99, 0.9, True)), 0),
    ],
    ids=["best", "steadiest", "beats-null", "none-valid", "untestable", "not-0", "only-0"],
)
def test_the_layer_is_chosen_by_validity(layers, expected):
    assert choose_layer(layers) == expected


def test_the_verdict_names_the_figures_and_their_chance_levels():
    row = pd.Series(assess([planted(5.0)])[0])
    valid, why = verdict(row)
    assert valid
    assert f"{row['auc']:.2f}" in why
