"""Scores of a ranking against what was planted."""

import math
import random

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from core.errors import UserError
from core.organism.truth import (
    average_precision,
    best_cluster,
    decoy_uids,
    planted_uids,
    precision_at,
    read_truth,
    recall_at,
)

UIDS = [f"p{i}" for i in range(40)]


@pytest.fixture
def truth():
    planted = ["greed" if i % 4 == 0 else None for i in range(40)]
    decoy = ["greed" if i % 4 == 1 else None for i in range(40)]
    return pd.DataFrame(
        {"uid": UIDS, "rule": "r", "planted": planted, "decoy": decoy, "swapped": False}
    )


def test_average_precision_agrees_with_scikit_learn(truth):
    planted = planted_uids(truth, "greed")
    for seed in range(20):
        ranking = random.Random(seed).sample(UIDS, len(UIDS))
        scores = [-ranking.index(uid) for uid in UIDS]
        expected = average_precision_score([uid in planted for uid in UIDS], scores)
        assert average_precision(ranking, planted) == pytest.approx(expected)


def test_a_perfect_ranking_scores_one(truth):
    planted = planted_uids(truth, "greed")
    ranking = sorted(UIDS, key=lambda uid: uid not in planted)
    assert average_precision(ranking, planted) == 1
    assert precision_at(ranking, planted, 10) == recall_at(ranking, planted, 10) == 1
    assert precision_at(ranking, planted, 20) == 0.5


def test_planted_pairs_that_a_ranking_leaves_out_count_as_missed():
    assert average_precision(["a"], {"a", "b"}) == 0.5
    assert recall_at(["a"], {"a", "b"}, 1) == 0.5


def test_without_planted_pairs_the_score_is_undefined():
    assert math.isnan(average_precision(UIDS, set()))
    assert math.isnan(recall_at(UIDS, set(), 5))


def test_decoys_are_not_planted(truth):
    assert not decoy_uids(truth, "greed") & planted_uids(truth, "greed")


def test_a_behavior_without_planted_pairs_is_a_user_error(truth):
    with pytest.raises(UserError, match="Planted: greed"):
        planted_uids(truth, "drift")


def test_a_truth_file_is_read_whole_or_refused(truth, tmp_path):
    truth.to_parquet(tmp_path / "truth.parquet")
    pd.testing.assert_frame_equal(read_truth(tmp_path / "truth.parquet"), truth)
    truth.drop(columns="decoy").to_parquet(tmp_path / "old.parquet")
    with pytest.raises(UserError, match="'decoy' is missing"):
        read_truth(tmp_path / "old.parquet")
    with pytest.raises(UserError, match="no such truth file"):
        read_truth(tmp_path / "absent.parquet")


def test_the_best_cluster_holds_most_of_the_planted():
    labels = np.array([0, 0, 0, 1, 1, -1])
    planted = np.array([1, 0, 0, 1, 1, 1], bool)
    found = best_cluster(labels, planted)
    assert found == {"cluster": 1, "size": 2, "recall": 0.5, "purity": 1.0}


def test_planted_pairs_in_no_cluster_are_not_found():
    found = best_cluster(np.array([0, -1]), np.array([False, True]))
    assert found == {"cluster": -1, "size": 0, "recall": 0.0, "purity": 0.0}
