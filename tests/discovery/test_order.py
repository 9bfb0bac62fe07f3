"""Places along the heatmap: alike beside alike, every place once, also for many points."""

import numpy as np
import pytest

from core.discovery import order


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50, order.MOST + 500])
def test_every_place_is_taken_once(n):
    points = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    assert sorted(order.places(points)) == list(range(n))


@pytest.mark.parametrize("n", [300, order.MOST * 2])
def test_points_of_a_blob_stand_side_by_side(n):
    rng = np.random.default_rng(0)
    blob = rng.integers(0, 3, n)
    points = np.eye(3, dtype=np.float32)[blob] * 10 + rng.normal(size=(n, 3)).astype(np.float32)
    along = blob[np.argsort(order.places(points))]
    assert np.count_nonzero(np.diff(along)) == 2


def test_identical_points_have_an_order():
    assert sorted(order.places(np.ones((20, 2), np.float32))) == list(range(20))
