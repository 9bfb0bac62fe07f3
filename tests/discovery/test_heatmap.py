"""The mosaic's cells are means of the matrix in the order found, undefined entries left out.

Places along the heatmap: alike beside alike, every place once, also for many points.
"""

import numpy as np
import pytest

from core.discovery import heatmap
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
    found = heatmap.means(tmp_path, rows, columns)
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
    picture = pixels(heatmap.picture(values, limit=1.0, shown=shown, colors=scale))
    assert tuple(picture[1, 0]) == (255, 0, 0, 255)
    assert tuple(picture[1, 1][:3]) == (0, 0, 255)
    assert picture[1, 1, 3] == round(255 * heatmap.FADED)
    assert picture[0, 0, 3] == 0


def test_a_cell_has_the_kind_of_most_of_its_points():
    kinds, columns = np.array([0, 1, 1, -1, 2]), np.array([0, 0, 0, 1, 2])
    assert list(heatmap.most_frequent(kinds, columns)) == [1, -1, 2]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50, heatmap.MOST + 500])
def test_every_place_is_taken_once(n):
    points = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    assert sorted(heatmap.places(points)) == list(range(n))


@pytest.mark.parametrize("n", [300, heatmap.MOST * 2])
def test_points_of_a_blob_stand_side_by_side(n):
    rng = np.random.default_rng(0)
    blob = rng.integers(0, 3, n)
    points = np.eye(3, dtype=np.float32)[blob] * 10 + rng.normal(size=(n, 3)).astype(np.float32)
    along = blob[np.argsort(heatmap.places(points))]
    assert np.count_nonzero(np.diff(along)) == 2


def test_identical_points_have_an_order():
    assert sorted(heatmap.places(np.ones((20, 2), np.float32))) == list(range(20))
