"""Planted groups of pairs are found whatever their size, and a small one is not lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.discovery.prompt_clusters import FEWEST, find_prompt_clusters
from tests.discovery.worlds import as_matrix, planted

SIZES = st.lists(st.integers(15, 60), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 2**16), score=st.floats(0.2, 0.9))
def test_planted_blobs_are_recovered(sizes, seed, score):
    rng = np.random.default_rng(seed)
    prompts = rng.integers(4, 12, len(sizes))
    n_pairs = sum(sizes) + int(rng.integers(50, 200))
    values = planted(sizes=sizes, prompts=prompts, n_pairs=n_pairs, score=score, seed=seed)
    clusters = find_prompt_clusters(as_matrix(values), 8)
    labels = clusters.strongest()
    start = 0
    for size in sizes:
        own = labels[start : start + size]
        cluster = np.bincount(own[own >= 0]).argmax()
        assert (own == cluster).mean() >= 0.9
        assert (own == cluster).sum() / (labels == cluster).sum() >= 0.9
        start += size


def test_a_behavior_of_few_weak_prompts_has_a_threshold_of_its_own():
    values = planted(sizes=(100, 25), prompts=(40, 6))
    values[40:, 100:125] -= 0.35  # a third of the other behavior's score
    weights = np.repeat(np.float32([1.2, 0.4]), (40, 6))
    labels = find_prompt_clusters(as_matrix(values, weights=weights), 8).strongest()
    (cluster,) = set(labels[100:125]) - {-1}
    assert (labels[100:125] == cluster).mean() > 0.9
    assert cluster not in labels[:100]


def test_groups_that_the_same_pairs_act_on_are_one_cluster():
    values = planted(sizes=(60,), prompts=(12,))
    similarity = np.kron(np.eye(3), np.ones((4, 4)))  # three topics, one behavior
    assert set(find_prompt_clusters(as_matrix(values, similarity=similarity), 8).labels) == {0}


def test_prompts_of_two_behaviors_are_two_clusters():
    labels = find_prompt_clusters(as_matrix(planted()), 8).labels
    assert len(set(labels[:10])) == len(set(labels[10:])) == 1
    assert labels[0] != labels[-1]


def test_blocks_change_nothing(monkeypatch):
    whole = find_prompt_clusters(as_matrix(planted()), 8)
    monkeypatch.setattr("core.discovery.matrix.COLUMNS", 17)
    blocked = find_prompt_clusters(as_matrix(planted()), 8)
    np.testing.assert_array_equal(whole.labels, blocked.labels)
    np.testing.assert_allclose(whole.scores, blocked.scores, atol=1e-6)


def test_undefined_prompts_and_pairs_are_left_out():
    values = planted()
    values[3], values[:, 7] = np.nan, np.nan
    found = find_prompt_clusters(as_matrix(values), 8)
    assert len(found.labels) == 19
    assert found.scores.shape[1] == 299
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("shape", [(1, 9), (2, 5), (5, 1)])
def test_hardly_anything_still_has_an_answer(shape):
    found = find_prompt_clusters(as_matrix(np.full(shape, 0.5)), 8)
    assert found.strongest().tolist() == [0] * shape[1]


def test_pairs_with_negative_scores_act_on_nothing():
    assert set(find_prompt_clusters(as_matrix(np.full((6, 8), -0.2)), 8).strongest()) == {-1}


def test_a_cluster_is_more_than_a_prompt_or_two():
    labels = find_prompt_clusters(as_matrix(planted(prompts=(10, 2))), 8).labels
    assert FEWEST == 3
    assert labels[10:].tolist() == [-1, -1]


def test_conditions_are_kept_apart_before_topics():
    values = planted(sizes=(50, 50), prompts=(10, 10), score=0.3)
    similarity = np.ones((20, 20))  # the same topics, plain and with a distractor
    condition = ["plain"] * 10 + ["distractor"] * 10
    labels = find_prompt_clusters(
        as_matrix(values, similarity=similarity, condition=condition), 8
    ).labels
    assert set(labels[:10]).isdisjoint(labels[10:])
