"""The image under a large map shows every point in its color at its place."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from core.discovery import raster
from core.discovery.raster import View

VIEW = View(0.0, raster.WIDTH, 0.0, raster.HEIGHT)  # one unit is one pixel
COLORS = ("#0072B2", "#D55E00")


def pixels(address: str):
    body = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGBA"))


def drawn(x, y, categories, shown=None, view=VIEW):
    x, y, categories = np.array(x, float), np.array(y, float), np.array(categories)
    shown = np.ones(len(x), bool) if shown is None else np.array(shown)
    return pixels(raster.category_map(x, y, categories, shown=shown, colors=COLORS, view=view))


def color(picture, x, y):
    """Of the pixel at a place in the data's coordinates, as #RRGGBB."""
    return "#" + bytes(picture[raster.HEIGHT - 1 - y, x][:3]).hex().upper()


def test_a_point_is_a_cross_of_its_color_at_its_place():
    picture = drawn([100.5], [50.5], [1])
    assert color(picture, 100, 50) == "#D55E00"
    assert np.count_nonzero(picture[..., 3]) == 5


def test_most_points_of_a_pixel_decide_its_color():
    assert color(drawn([9.5] * 3, [9.5] * 3, [0, 1, 1]), 9, 9) == "#D55E00"


def test_points_that_are_not_shown_are_grey_and_beneath():
    picture = drawn([9.5, 9.5, 9.5, 40.5], [9.5] * 4, [0, 1, 1, 1], [True, False, False, False])
    assert color(picture, 9, 9) == "#0072B2"
    assert color(picture, 40, 9) == raster.CONTEXT[0]


def test_points_without_a_place_or_out_of_view_are_not_drawn():
    picture = drawn([np.nan, -5.0, 2000.0], [9.5, 9.5, 9.5], [0, 0, 0])
    assert not picture[..., 3].any()


def test_values_are_averaged_over_a_pixel():
    x = np.array([9.5, 9.5, 40.5, 70.5])
    values = np.array([1.0, -1.0, -1.0, np.nan])
    scale = ("#0072B2", "#B9BFC6", "#D55E00")
    shown = np.ones(4, bool)
    picture = pixels(raster.value_map(x, x * 0 + 9, values, shown=shown, colors=scale, view=VIEW))
    assert color(picture, 9, 9) == "#B9BFC6"
    assert color(picture, 40, 9) == "#0072B2"
    assert not picture[:, 60:80, 3].any()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_view_around_few_or_identical_points_has_an_extent(n):
    view = raster.view_of(np.full(n, 3.0), np.full(n, -2.0))
    assert view.left < view.right
    assert view.low < view.high


def test_a_map_of_378k_points_is_a_small_picture():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 378_341)) + rng.integers(0, 9, 378_341)
    categories = rng.integers(0, 2, len(x))
    shown = np.ones(len(x), bool)
    picture = raster.category_map(
        x, y, categories, shown=shown, colors=COLORS, view=raster.view_of(x, y)
    )
    assert len(picture) < 400_000
