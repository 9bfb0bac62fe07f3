"""A gesture and filters select the same pairs as exact arithmetic does pair by pair."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.pair_table import open_columns
from core.intervention.edits.select import select
from core.runs.store import Store
from core.specs.recipes import AllOf, Contains, InCluster, InPolygon, NoneOf, Where
from pages.components import region

RUN, N = "discover-0123456789abcdef", 150
CORNER = st.tuples(*[st.floats(-12, 12, allow_nan=False, width=32)] * 2)
LASSO = st.lists(CORNER, min_size=3, max_size=9)
FILTERS = st.sampled_from(["none", "source", "phrase", "cluster", "outside"])


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Pairs in another order than on the map, some of them without coordinates or not on it."""
    folder = tmp_path_factory.mktemp("workspace")
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(N)],
            "prompt": [f"ask {i}" for i in range(N)],
            "chosen": [f"yes {i}" for i in range(N)],
            "rejected": "no",
            "source": np.array(["a", "b", "c"])[rng.integers(0, 3, N)],
        }
    )
    pairs.to_parquet(folder / "pairs.parquet")
    places = pd.DataFrame(
        {
            "uid": rng.permutation(pairs["uid"])[:-5],
            "x": np.round(rng.normal(0, 5, N - 5), 1),
            "y": np.round(rng.normal(0, 5, N - 5), 1),
            "cluster": rng.integers(-1, 3, N - 5),
        }
    )
    places.loc[3, ["x", "y"]] = np.nan
    store = Store(folder)
    (store.folder(RUN) / "output").mkdir(parents=True)
    places.to_parquet(store.output(RUN) / "pairs.parquet")
    return store, open_columns(folder / "pairs.parquet", folder / "cache"), pairs, places


def crossings(x: float, y: float, corners) -> tuple[bool, bool]:
    """Whether a point is inside, in exact arithmetic, and whether it is too near to the border."""
    inside, near = False, False
    px, py = Fraction(x), Fraction(y)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        ax, ay, bx, by = map(Fraction, (x0, y0, x1, y1))
        if (ay <= py) != (by <= py):
            at = ax + (py - ay) * (bx - ax) / (by - ay)
            inside ^= px < at
            near |= abs(px - at) < Fraction(1, 10**6)
    return inside, near


@settings(max_examples=60, deadline=None)
@given(LASSO, FILTERS)
def test_selected_pairs_are_those_of_brute_force(mapped, corners, narrowed):
    store, columns, pairs, places = mapped
    lasso = {"x": [x for x, _ in corners], "y": [y for _, y in corners]}
    polygon = region.polygon_of({"lasso": [lasso], "box": []})
    drawn = InPolygon(discover=RUN, **polygon)
    other, also = {
        "none": (None, lambda pair, place: True),
        "source": (Where(column="source", values=("a", "c")), lambda p, q: p["source"] in "ac"),
        "phrase": (Contains(column="chosen", phrase="S 1"), lambda p, q: "yes 1" in p["chosen"]),
        "cluster": (InCluster(discover=RUN, clusters=(0, 2)), lambda p, q: q["cluster"] in (0, 2)),
        "outside": (
            NoneOf(parts=(Where(column="source", values=("b",)),)),
            lambda p, q: p["source"] != "b",
        ),
    }[narrowed]
    recipe = AllOf(parts=(drawn, other)) if other else drawn
    found = set(pairs["uid"][select(recipe, columns, store)])
    by_uid = pairs.set_index("uid").to_dict("index")
    for place in places.to_dict("records"):
        if np.isnan(place["x"]):
            assert place["uid"] not in found
            continue
        inside, near = crossings(place["x"], place["y"], corners)
        if not near:
            expected = inside and also(by_uid[place["uid"]], place)
            assert (place["uid"] in found) == expected
    assert found <= set(places["uid"])


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
    polygon = region.polygon_of(selection)
    assert (polygon and (polygon["x"], polygon["y"])) == expected
