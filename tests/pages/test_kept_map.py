"""A figure of the map is kept, and drawn anew whenever something that it shows is another."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.discovery.raster import View
from core.intervention.recipes import InPolygon
from pages import _kept_map
from pages._coloring import Coloring

N = 30
LINE = np.linspace(0, 1, N)
PLACES = pd.DataFrame({"x": LINE, "y": LINE, "uid": [f"pair {i}" for i in range(N)]})
KINDS = Coloring("cluster", np.where(LINE < 0.5, 0, 1), ("a", "b"))
ONE, OTHER = "discover-0123456789abcdef", "discover-0000000000000000"
REGION = InPolygon(discover=ONE, x=(0, 1, 1), y=(0, 0, 1))
DRAWN = {
    "run": ONE,
    "places": PLACES,
    "coloring": KINDS,
    "shown": np.ones(N, bool),
    "outline": None,
    "part": View(-0.1, 1.1, -0.1, 1.1),
}


def test_the_same_map_is_drawn_once(store):
    again = DRAWN | {"places": PLACES.copy(), "coloring": replace(KINDS, kinds=KINDS.kinds.copy())}
    assert _kept_map.figure(**again) is _kept_map.figure(**DRAWN)


@pytest.mark.parametrize(
    "other",
    [
        {"run": OTHER},
        {"places": PLACES.assign(y=1 - LINE)},
        {"coloring": replace(KINDS, kinds=1 - KINDS.kinds)},
        {"coloring": replace(KINDS, names=("a", "renamed"))},
        {"coloring": Coloring("cluster", values=LINE)},
        {"shown": LINE > 0.2},
        {"outline": REGION},
        {"part": View(0.0, 0.5, 0.0, 0.5)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_map_is_drawn_anew(store, other):
    assert _kept_map.figure(**(DRAWN | other)) is not _kept_map.figure(**DRAWN)
