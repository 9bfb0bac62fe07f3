"""The map's figure: polygons of gestures, and grey context around a selection."""

import numpy as np
import pandas as pd
import pytest

from core.intervention.recipes import InPolygon
from pages import _map


@pytest.fixture
def points():
    n = 30
    category = pd.Categorical(["a"] * 20 + ["b"] * 10, ["a", "b", "c"])
    place = np.linspace(0, 1, n)
    return pd.DataFrame(
        {"x": place, "y": place, "label": [f"pair {i}" for i in range(n)], "category": category}
    )


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"lasso": [{"x": [0, 1, 1], "y": [0, 0, 1]}], "box": []}, ((0, 1, 1), (0, 0, 1))),
        ({"lasso": [], "box": [{"x": [0, 2], "y": [1, 3]}]}, ((0, 2, 2, 0), (1, 1, 3, 3))),
        ({"lasso": [{"x": [0, 1], "y": [0, 0]}], "box": []}, None),
        ({"lasso": [], "box": []}, None),
    ],
)
def test_a_gesture_becomes_the_polygon_that_was_drawn(selection, expected):
    polygon = _map._polygon(selection)
    assert (polygon and (polygon["x"], polygon["y"])) == expected


def test_pairs_outside_the_selection_stay_as_grey_context(points):
    inside = pd.Series(points["x"] > 0.5, index=points.index)
    figure = _map.figure(points, inside=inside, outline=None, title="")
    assert figure.data[0].name == "not selected"
    assert sum(len(trace.x) for trace in figure.data) == len(points)


def test_a_category_keeps_its_color_when_others_are_absent(points):
    everything = pd.Series(True, index=points.index)
    only_b = points["category"] == "b"
    whole = _map.figure(points, inside=everything, outline=None, title="")
    part = _map.figure(points, inside=only_b, outline=None, title="")
    colors = {trace.name: trace.marker.color for trace in whole.data}
    assert part.data[1].marker.color == colors["b"]


def test_the_region_stays_visible_on_the_map(points):
    everything = pd.Series(True, index=points.index)
    outline = InPolygon(discover="discover-0", x=(0, 1, 1), y=(0, 0, 1))
    figure = _map.figure(points, inside=everything, outline=outline, title="")
    assert figure.layout.shapes[0].path == "M0.0,0.0L1.0,0.0L1.0,1.0Z"


def test_a_large_map_is_drawn_as_a_sample(points):
    many = pd.concat([points] * 400, ignore_index=True)
    figure = _map.figure(many, inside=pd.Series(True, index=many.index), outline=None, title="")
    assert sum(len(trace.x) for trace in figure.data) == _map.ON_SCREEN
