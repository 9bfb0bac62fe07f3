"""Planted clusters recur over draws of prompts, noise does not; clusters find their best match."""

import numpy as np
import pytest

from core.discovery.prompt_clusters import find_prompt_clusters
from core.discovery.stability import agreement, best_matches, over_prompts, recovered
from tests.discovery.worlds import as_matrix, planted, unrefined


def repeats(values):
    matrix = as_matrix(values)
    labels = find_prompt_clusters(matrix, 8).strongest()
    return labels, over_prompts(
        matrix, 8, repeats=4, seed=0, report=lambda done, total: None, refine=unrefined
    )


def test_planted_clusters_are_stable():
    labels, others = repeats(planted())
    assert agreement(labels, others)["mean"] > 0.95
    assert (recovered(labels, others) > 0.95).all()


def test_clusters_of_noise_are_not():
    labels, others = repeats(planted(score=0))
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


def mask(*rows, n=100):
    found = np.zeros(n, bool)
    found[list(rows)] = True
    return found


def test_a_renumbered_cluster_is_found():
    now = np.where(np.arange(100) < 40, 7, 2)
    (row,) = best_matches({"locks": mask(*range(40))}, now).to_dict("records")
    assert (row["cluster"], row["shared"], row["jaccard"]) == (7, 40, 1.0)


def test_the_larger_share_wins():
    now = np.where(np.arange(100) < 30, 0, 1)
    (row,) = best_matches({"x": mask(*range(20, 60))}, now).to_dict("records")
    assert row["cluster"] == 1
    assert row["jaccard"] == pytest.approx(30 / 80)


def test_a_cluster_that_dissolved_into_noise_has_vanished():
    now = np.where(np.arange(100) < 40, -1, 0)
    (row,) = best_matches({"x": mask(*range(40))}, now).to_dict("records")
    assert (row["cluster"], row["shared"], row["pairs"]) == (-1, 0, 40)


def test_a_cluster_without_pairs_and_a_map_without_clusters():
    assert best_matches({"x": mask()}, np.zeros(100, np.int64))["cluster"].tolist() == [-1]
    assert best_matches({"x": mask(1, 2)}, np.full(100, -1))["cluster"].tolist() == [-1]
    assert best_matches({}, np.zeros(3, np.int64)).empty
