"""The map's figure: grey context around a selection, pictures of large maps, and its cache."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.discovery.raster import View
from core.specs.recipes import InPolygon
from pages.components import theme
from pages.components.map import figure
from pages.components.map.coloring import Coloring

N = 30
LINE = np.linspace(0, 1, N)
PLACES = pd.DataFrame({"x": LINE, "y": LINE, "uid": [f"pair {i}" for i in range(N)]})
CATEGORIES = Coloring("cluster", np.where(LINE < 0.5, 0, 1), ("a", "b"))
ONE, OTHER = "discover-0123456789abcdef", "discover-0000000000000000"
REGION = InPolygon(discover=ONE, x=(0, 1, 1), y=(0, 0, 1))
DRAWN = {
    "run": ONE,
    "places": PLACES,
    "coloring": CATEGORIES,
    "shown": np.ones(N, bool),
    "outline": None,
    "part": View(-0.1, 1.1, -0.1, 1.1),
}


def test_the_same_map_is_drawn_once(store):
    again = DRAWN | {
        "places": PLACES.copy(),
        "coloring": replace(CATEGORIES, codes=CATEGORIES.codes.copy()),
    }
    assert figure.pairs_figure(**again) is figure.pairs_figure(**DRAWN)


@pytest.mark.parametrize(
    "other",
    [
        {"run": OTHER},
        {"places": PLACES.assign(y=1 - LINE)},
        {"coloring": replace(CATEGORIES, codes=1 - CATEGORIES.codes)},
        {"coloring": replace(CATEGORIES, names=("a", "renamed"))},
        {"coloring": Coloring("cluster", values=LINE)},
        {"shown": LINE > 0.2},
        {"outline": REGION},
        {"part": View(0.0, 0.5, 0.0, 0.5)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_map_is_drawn_again(store, other):
    assert figure.pairs_figure(**(DRAWN | other)) is not figure.pairs_figure(**DRAWN)


PART = View(-0.1, 1.1, -0.1, 1.1)


def places(n=30):
    line = np.linspace(0, 1, n)
    return pd.DataFrame({"x": line, "y": line, "uid": [f"pair {i}" for i in range(n)]})


def coloring(n=30):
    return Coloring("cluster", np.where(np.arange(n) < n * 2 // 3, 0, 1), ("a", "b", "c"))


def drawn(shown, n=30, outline=None, colors=None):
    return figure.pairs_figure(
        ONE, places(n), colors or coloring(n), shown=shown, outline=outline, part=PART
    )


def test_pairs_outside_the_selection_stay_as_grey_context():
    made = drawn(places()["x"].to_numpy() > 0.5)
    assert made.data[0].name == "not selected"
    assert sum(len(trace.x) for trace in made.data) == 30


def test_a_category_keeps_its_color_when_others_are_absent():
    whole, part = drawn(np.ones(30, bool)), drawn(coloring().codes == 1)
    colors = {trace.name: trace.marker.color for trace in whole.data}
    assert part.data[1].marker.color == colors["b"]


def test_the_region_stays_visible_on_the_map():
    outline = InPolygon(discover="discover-0", x=(0, 1, 1), y=(0, 0, 1))
    made = drawn(np.ones(30, bool), outline=outline)
    assert made.layout.shapes[0].path == "M0.0,0.0L1.0,0.0L1.0,1.0Z"


@pytest.mark.parametrize("valued", [False, True])
def test_a_large_map_is_a_picture_under_a_sample_that_carries_the_gesture(valued):
    n = 40_000
    colors = Coloring("similarity", values=np.linspace(-1, 1, n)) if valued else None
    made = drawn(np.arange(n) < n // 2, n, colors=colors)
    carriers = made.data[-1]
    assert carriers.marker.opacity == 0
    assert len(carriers.x) <= figure.CARRIERS
    assert len(made.layout.images) == 1
    assert len(made.to_json()) < 600_000


def test_every_group_of_a_large_map_has_a_dot_that_carries_the_gesture():
    x = np.concatenate([np.zeros(100_000), [1.0]])
    rows = figure.drawn_rows(pd.DataFrame({"x": x, "y": x}), PART)
    assert 100_000 in rows


def test_lines_of_equal_density_are_where_the_pairs_of_a_crowd_are():
    n = figure.CROWD
    rng = np.random.default_rng(0)
    crowd = pd.DataFrame({"x": rng.normal(0.8, 0.02, n), "y": rng.normal(0.2, 0.02, n)})
    made = figure.pairs_figure(
        ONE, crowd, coloring(n), shown=np.ones(n, bool), outline=None, part=PART
    )
    lines = made.data[0]
    row, column = np.unravel_index(np.argmax(lines.z), np.shape(lines.z))
    assert (lines.x[column], lines.y[row]) == pytest.approx((0.8, 0.2), abs=0.03)
    assert np.max(lines.z) == 0
    assert np.min(lines.z) == -figure.LINES
    assert drawn(np.ones(30, bool)).data[0].type != "contour"


def test_words_of_the_data_set_are_no_tags_in_a_chart():
    assert "<" not in theme.label("<a href='http://evil.example'>x</a>")


def named(part=PART, n=30):
    members, names = coloring(n).codes, {0: "one", 1: "another"}
    chart = figure.pairs_figure(
        ONE, places(n), coloring(n), shown=np.ones(n, bool), outline=None, part=part,
        names=(members, names),
    )  # fmt: skip
    return {note.name: (note.text, note.x) for note in chart.layout.annotations}


def test_clusters_are_named_at_their_middle_of_what_is_in_view():
    line = places()["x"].to_numpy()
    assert named() == {"0": ("one", np.median(line[:20])), "1": ("another", np.median(line[20:]))}
    half = named(View(0.0, 0.5, 0.0, 0.5))
    assert half == {"0": ("one", np.median(line[line <= 0.5]))}


def test_a_name_at_the_edge_is_drawn_inside():
    part = View(0.6, 0.9, 0.0, 1.0)
    text, x = named(part)["0"]  # of which only the last pairs, at 0.65, are in view
    assert text == "one"
    assert x - figure.ROOM[0] * 0.3 * len(text) / 2 >= part.left


def test_a_name_without_room_appears_as_one_zooms_in():
    wide, near = View(-9.0, 9.0, -9.0, 9.0), View(-0.1, 1.1, -0.1, 1.1)
    assert set(named(wide)) == {"0"}
    assert set(named(near)) == {"0", "1"}


def test_a_dot_names_its_row_of_the_map():
    shown = coloring().codes == 1
    made = drawn(shown)
    rows = np.concatenate([trace.customdata for trace in made.data])
    assert sorted(rows) == list(range(30))
    assert list(made.data[1].customdata) == list(np.flatnonzero(shown))
