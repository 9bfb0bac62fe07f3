"""Principal components and exact neighbors are those of scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from core.geometry import cosines, kernel_components, nearest_neighbors, principal_components


@pytest.mark.parametrize("shape", [(60, 8), (8, 60)], ids=["tall", "wide"])
def test_components_agree_with_scikit_learn_up_to_sign(shape):
    points = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ours, theirs = principal_components(points, 5), PCA(5).fit_transform(points)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-3)


def test_neighbors_agree_with_scikit_learn_across_blocks():
    points = np.random.default_rng(0).normal(size=(120, 12)).astype(np.float32)
    indices, distances = nearest_neighbors(points, points, 6, same=True, at_once=32 * 120)
    theirs, their_indices = NearestNeighbors(n_neighbors=6).fit(points).kneighbors(points)
    np.testing.assert_allclose(distances, theirs, atol=1e-2)
    assert (indices == their_indices).mean() > 0.99


def test_a_point_is_its_own_first_neighbor_even_among_identical_ones():
    points = np.ones((20, 3), np.float32)
    indices, distances = nearest_neighbors(points, points, 4, same=True)
    assert indices[:, 0].tolist() == list(range(20))
    assert not distances.any()


def test_components_of_a_kernel_have_its_inner_products():
    points = np.random.default_rng(0).normal(size=(20, 3))
    kernel = points @ points.T
    components = kernel_components(kernel, 3)
    np.testing.assert_allclose(components @ components.T, kernel, atol=1e-9)


def test_cosines_are_within_bounds_and_undefined_for_zero() -> None:
    vectors = np.array([[1e-3, 2e-3], [3.0, 4.0], [0, 0]], np.float32)
    found = cosines(vectors, vectors)
    assert np.nanmax(found) <= 1
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
