"""Planted clusters come again over draws of prompts; noise does not."""

import numpy as np
import pytest

from core.discovery.prompt_clusters import find_prompt_clusters
from core.discovery.stability import agreement, over_prompts, recovered
from tests.discovery.worlds import as_matrix, planted, unsharpened


def repeats(values):
    matrix = as_matrix(values)
    labels = find_prompt_clusters(matrix, 8).hardest()
    return labels, over_prompts(
        matrix, 8, repeats=4, seed=0, report=lambda done, total: None, sharpen=unsharpened
    )


def test_planted_clusters_are_stable():
    labels, others = repeats(planted())
    assert agreement(labels, others)["mean"] > 0.95
    assert (recovered(labels, others) > 0.95).all()


def test_clusters_of_noise_are_not():
    labels, others = repeats(planted(push=0))
    assert agreement(labels, others)["mean"] < 0.5


def test_the_range_is_of_the_repeats():
    one = np.array([0, 0, 1, 1])
    found = agreement(one, [one, np.array([1, 1, 0, 0]), np.array([0, 1, 0, 1])])
    assert found["high"] == 1
    assert found["low"] < 0.1
    assert found["n"] == 3


def test_without_repeats_nothing_is_claimed():
    labels = np.array([0, 1, -1])
    assert agreement(labels, []) == {"n": 0}
    assert recovered(labels, []).isna().all()


def test_a_cluster_is_as_stable_as_its_best_match():
    labels = np.array([0, 0, 0, 0, 1, 1, -1])
    other = np.array([5, 5, 5, -1, -1, -1, 5])
    assert recovered(labels, [other]).to_dict() == pytest.approx({0: 3 / 5, 1: 0})
