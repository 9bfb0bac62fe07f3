"""Cells are means of the matrix in leaf order, in which every point has a place of its own."""

import numpy as np
import pytest

from core.discovery import heatmap, raster
from tests.discovery.test_raster import pixels


def test_cells_divide_the_places_evenly():
    place = np.array([3, 0, -1, 2, 1])
    assert list(heatmap.cells(place, 2)) == [1, 0, -1, 1, 0]
    assert list(heatmap.cells(place, 100)) == [3, 0, -1, 2, 1]


def test_means_are_those_of_the_matrix(tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(5, 40)).astype(np.float32)
    matrix[:, 7], matrix[3] = np.nan, np.nan
    np.save(tmp_path / "matrix.npy", matrix)
    rows, columns = rng.permutation(5), rng.integers(-1, 6, 40)
    found = heatmap.cell_means(tmp_path, rows, columns)
    for prompt in range(5):
        for cell in range(6):
            values = matrix[prompt, columns == cell]
            known = values[np.isfinite(values)]
            expected = known.mean() if len(known) else np.nan
            assert found[rows[prompt], cell] == pytest.approx(expected, nan_ok=True)


def test_the_first_row_is_at_the_bottom_and_undefined_cells_are_empty():
    values = np.array([[1.0, -1.0], [np.nan, 0.0]])
    scale = ("#0000FF", "#808080", "#FF0000")
    shown = np.array([True, False])
    picture = pixels(raster.value_grid(values, limit=1.0, shown=shown, colors=scale))
    assert tuple(picture[1, 0]) == (255, 0, 0, 255)
    assert tuple(picture[1, 1][:3]) == (0, 0, 255)
    assert picture[1, 1, 3] == round(255 * raster.FADED)
    assert picture[0, 0, 3] == 0


def test_a_cell_has_the_label_of_most_of_its_points():
    labels, columns = np.array([0, 1, 1, -1, 2]), np.array([0, 0, 0, 1, 2])
    assert list(heatmap.majority(labels, columns)) == [1, -1, 2]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50, heatmap.MOST_LINKED + 500])
def test_every_place_is_taken_once(n):
    points = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    assert sorted(heatmap.leaf_order(points)) == list(range(n))


@pytest.mark.parametrize("n", [300, heatmap.MOST_LINKED * 2])
def test_points_of_a_blob_are_neighbors(n):
    rng = np.random.default_rng(0)
    blob = rng.integers(0, 3, n)
    points = np.eye(3, dtype=np.float32)[blob] * 10 + rng.normal(size=(n, 3)).astype(np.float32)
    along = blob[np.argsort(heatmap.leaf_order(points))]
    assert np.count_nonzero(np.diff(along)) == 2


def test_identical_points_have_an_order():
    assert sorted(heatmap.leaf_order(np.ones((20, 2), np.float32))) == list(range(20))
