"""What was said of a cluster finds its pairs again after another clustering."""

import numpy as np
import pytest

from core.discovery import matching


def mask(*rows, n=100):
    found = np.zeros(n, bool)
    found[list(rows)] = True
    return found


def test_a_renumbered_cluster_is_found():
    now = np.where(np.arange(100) < 40, 7, 2)
    (row,) = matching.best({"locks": mask(*range(40))}, now).to_dict("records")
    assert (row["cluster"], row["shared"], row["jaccard"]) == (7, 40, 1.0)


def test_the_larger_share_wins():
    now = np.where(np.arange(100) < 30, 0, 1)
    (row,) = matching.best({"x": mask(*range(20, 60))}, now).to_dict("records")
    assert row["cluster"] == 1
    assert row["jaccard"] == pytest.approx(30 / 80)


def test_a_cluster_that_dissolved_into_noise_has_vanished():
    now = np.where(np.arange(100) < 40, -1, 0)
    (row,) = matching.best({"x": mask(*range(40))}, now).to_dict("records")
    assert (row["cluster"], row["shared"], row["pairs"]) == (-1, 0, 40)


def test_a_cluster_without_pairs_and_a_map_without_clusters():
    assert matching.best({"x": mask()}, np.zeros(100, np.int64))["cluster"].tolist() == [-1]
    assert matching.best({"x": mask(1, 2)}, np.full(100, -1))["cluster"].tolist() == [-1]
    assert matching.best({}, np.zeros(3, np.int64)).empty
