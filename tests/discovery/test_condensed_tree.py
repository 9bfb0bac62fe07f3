"""Coarser and finer islands, cut from one tree."""

import numpy as np
import pytest

from core.discovery.clustering import find_clusters
from core.discovery.condensed_tree import COLUMNS, cut, levels


@pytest.fixture(scope="module")
def islands():
    """Two groups far apart, the first of two halves."""
    random = np.random.default_rng(0)
    centres = np.repeat([[0, 0], [2, 0], [30, 0]], [40, 40, 60], axis=0)
    return find_clusters((centres + random.normal(0, 0.2, centres.shape)).astype(np.float32), 20)


def test_the_islands_are_the_selected_nodes(islands):
    nodes = islands.tree.nodes
    assert nodes.columns.tolist() == COLUMNS
    assert nodes["selected"].sum() == islands.labels.max() + 1
    assert nodes.iloc[0][["parent", "size"]].tolist() == [-1, 140]


def test_a_larger_distance_joins_what_a_smaller_one_parts(islands):
    coarse, fine = cut(islands.tree, 5.0), cut(islands.tree, 1.0)
    assert (coarse[:80] == coarse[0]).mean() > 0.95
    assert (coarse[80:] == coarse[-1]).mean() > 0.95
    assert coarse[0] != coarse[-1]
    assert len(set(fine[fine >= 0])) == 3


def test_there_is_one_group_from_far_away_and_none_from_too_near(islands):
    assert set(cut(islands.tree, 1e9)) == {0}
    assert set(cut(islands.tree, 1e-9)) == {-1}


def test_every_level_cuts_into_as_many_groups_as_it_says(islands):
    found = levels(islands.tree.nodes)
    assert list(found) == sorted(found)
    assert max(found) >= 3
    for number, distance in found.items():
        assert len(set(cut(islands.tree, distance)) - {-1}) == number


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.ones((30, 2)), np.zeros((3, 2))])
def test_without_groups_there_is_an_empty_tree(points):
    tree = find_clusters(points.astype(np.float32), 10).tree
    assert tree.nodes.columns.tolist() == COLUMNS
    assert cut(tree, 1.0).tolist() == [-1] * len(points)
