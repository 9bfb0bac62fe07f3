"""Clusters of planted points, also none and one, and coarser and finer cuts of their tree."""

import numpy as np
import pytest

from core.discovery.clustering import (
    COLUMNS,
    by_size,
    cut,
    find_clusters,
    levels,
    medoids,
    merge_parallel,
)


def group(centre, n, seed=0):
    return np.random.default_rng(seed).normal(centre, 0.1, size=(n, 2)).astype(np.float32)


def test_planted_groups_are_found_largest_first():
    points = np.concatenate([group((0, 0), 30), group((9, 9), 60)])
    labels, strength, _ = find_clusters(points, 20)
    assert (labels[30:] == 0).mean() > 0.9
    assert (labels[:30] == 1).mean() > 0.9
    assert ((strength >= 0) & (strength <= 1)).all()


def test_scattered_points_are_all_noise():
    points = np.random.default_rng(0).uniform(size=(60, 2)).astype(np.float32)
    labels, strength, _ = find_clusters(points, 30)
    assert set(labels) == {-1}
    assert not strength.any()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_fewer_points_than_a_cluster_needs_are_noise(n):
    labels, strength, _ = find_clusters(group((0, 0), n), 10)
    assert labels.tolist() == [-1] * n
    assert strength.tolist() == [0] * n


def test_identical_points_are_one_cluster():
    labels, strength, _ = find_clusters(np.ones((40, 2), np.float32), 10)
    assert set(labels) == {0}
    assert (strength == 1).all()


def test_numbers_go_by_size_and_noise_keeps_its_own():
    assert by_size(np.array([7, 2, 2, -1, 2, 7, 5])).tolist() == [1, 0, 0, -1, 0, 1, 2]
    assert by_size(np.array([-1, -1])).tolist() == [-1, -1]


def test_the_medoid_is_the_member_nearest_to_the_mean():
    points = np.array([[0, 0], [1, 0], [2.2, 0], [50, 0], [1.1, 0]], np.float32)
    assert medoids(points, np.array([0, 0, 0, -1, -1])).to_dict() == {0: 1}


def test_clusters_in_one_direction_are_merged_and_opposite_ones_are_not():
    directions = np.array([[1, 0.1], [1, -0.1], [-1, 0], [0, 1], [5, 5]], np.float32)
    merged = merge_parallel(directions, np.array([0, 1, 2, 3, -1]))
    assert merged.tolist() == [0, 0, 1, 2, -1]


@pytest.mark.parametrize("labels", [[-1, -1], [0, 0], [0, -1]])
def test_nothing_is_merged_where_there_is_one_cluster_or_none(labels):
    directions = np.ones((2, 2), np.float32)
    assert merge_parallel(directions, np.array(labels)).tolist() == labels


@pytest.fixture(scope="module")
def clustering():
    """Two groups far apart, the first of two halves."""
    random = np.random.default_rng(0)
    centres = np.repeat([[0, 0], [2, 0], [30, 0]], [40, 40, 60], axis=0)
    return find_clusters((centres + random.normal(0, 0.2, centres.shape)).astype(np.float32), 20)


def test_the_clusters_are_the_selected_nodes(clustering):
    nodes = clustering.tree.nodes
    assert nodes.columns.tolist() == COLUMNS
    assert nodes["selected"].sum() == clustering.labels.max() + 1
    assert nodes.iloc[0][["parent", "size"]].tolist() == [-1, 140]


def test_a_larger_distance_merges_what_a_smaller_one_splits(clustering):
    coarse, fine = cut(clustering.tree, 5.0), cut(clustering.tree, 1.0)
    assert (coarse[:80] == coarse[0]).mean() > 0.95
    assert (coarse[80:] == coarse[-1]).mean() > 0.95
    assert coarse[0] != coarse[-1]
    assert len(set(fine[fine >= 0])) == 3


def test_there_is_one_group_at_a_large_distance_and_none_at_a_tiny_one(clustering):
    assert set(cut(clustering.tree, 1e9)) == {0}
    assert set(cut(clustering.tree, 1e-9)) == {-1}


def test_every_level_cuts_into_as_many_groups_as_it_says(clustering):
    found = levels(clustering.tree.nodes)
    assert list(found) == sorted(found)
    assert max(found) >= 3
    for number, distance in found.items():
        assert len(set(cut(clustering.tree, distance)) - {-1}) == number


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.ones((30, 2)), np.zeros((3, 2))])
def test_without_groups_there_is_an_empty_tree(points):
    tree = find_clusters(points.astype(np.float32), 10).tree
    assert tree.nodes.columns.tolist() == COLUMNS
    assert cut(tree, 1.0).tolist() == [-1] * len(points)
