"""The region that was drawn on a map, the part of the map in view, and both in the URL.

A lasso or box is kept as the polygon that was drawn, never as a list of points: `core` decides
which pairs are inside, from all pairs, whether or not they are on the screen. Streamlit would send
the chart's selection again with every rerun, so the polygon is copied at once and the chart gets a
new key. `show_sliders` draws a box without a mouse. `restore` and `publish` keep a view of the map
in the URL, so that whoever opens a copied link sees the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.discovery.raster import View
from core.specs.recipes import InPolygon

PAIRS, PROMPTS = "region", "prompt-region"  # session keys of the polygon on each map
FULL = (0, 100)  # per cent of a map's extent
CORNERS = 80  # of a lasso at most: they are in the URL
DIGITS = 6  # of a coordinate
ZOOM = "zoom"  # of the URL: left, right, low, high


def restore(run: str) -> list[str]:
    """Take the regions and the view of a link that was opened; what of them cannot be read."""
    unread = []
    for key in (PAIRS, PROMPTS):
        if written := st.query_params.get(key):
            corners = _numbers(written)
            if len(corners) >= 6 and len(corners) % 2 == 0:
                _keep({"discover": run, "x": corners[::2], "y": corners[1::2]}, key)
            else:
                unread.append("a region")
    if written := st.query_params.get(ZOOM):
        part = _numbers(written)
        if len(part) == 4 and part[0] < part[1] and part[2] < part[3]:
            look(run, View(*part))
        else:
            unread.append("a view")
    return unread


def publish(run: str) -> None:
    """Write the regions and the view into the URL."""
    for key in (PAIRS, PROMPTS):
        polygon = drawn(run, key)
        corners = zip(polygon.x, polygon.y, strict=True) if polygon else ()
        write_url(key, [",".join(f"{n:.{DIGITS}g}" for corner in corners for n in corner)])
    part = st.session_state.get(f"view-{run}")
    write_url(ZOOM, [",".join(f"{n:.{DIGITS}g}" for n in part.values()) if part else ""])


def write_url(key: str, values: Sequence[str]) -> None:
    """Set a part of the URL, or remove it where there is no value; nothing if it is the same."""
    values = [value for value in values if value]
    if values != st.query_params.get_all(key):
        if values:
            st.query_params[key] = values
        else:
            del st.query_params[key]


def _numbers(written: str) -> tuple[float, ...]:
    """Finite numbers between commas; none if anything else is there."""
    try:
        numbers = tuple(float(part) for part in written.split(","))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def drawn(run: str, key: str = PAIRS) -> InPolygon | None:
    """The region that was drawn on a run's map of pairs (or of prompts)."""
    polygon = st.session_state.get(key)
    return InPolygon(**polygon) if polygon and polygon["discover"] == run else None


def clear(key: str = PAIRS) -> None:
    """Forget a region, and redraw its chart without it."""
    _keep(None, key)


def view(run: str, everything: View) -> View:
    """The part of the map that is in view."""
    part = st.session_state.get(f"view-{run}")
    return View(**part) if part else everything


def zoom(run: str, part: View | None) -> None:
    """Zoom to a part of the map; None shows all of it."""
    look(run, part)
    _keep(st.session_state.get(PAIRS), PAIRS)


def look(run: str, part: View | None) -> None:
    """Zoom where the chart shows this part already."""
    st.session_state[f"view-{run}"] = asdict(part) if part else None


def draw(
    figure: go.Figure, run: str, key: str = PAIRS, *, alt: str, then: dict[str, str] | None = None
) -> None:
    """A map, ready for a lasso or a box; a gesture also sets the widgets named in `then`."""
    chart = f"{key}-{run}-{_version(key)}"
    st.plotly_chart(
        figure,
        key=chart,
        on_select=lambda: _copy(run, chart, key, then or {}),
        selection_mode=("lasso", "box"),
        config={"scrollZoom": True, "displaylogo": False},
        alt=alt,
    )


def show_sliders(
    run: str, everything: View, key: str = PAIRS, *, then: dict[str, str] | None = None
) -> None:
    """Two sliders that draw a box on the map, for the keyboard; a drawn region moves them."""
    edges = {
        "across": (everything.left, everything.right),
        "up": (everything.low, everything.high),
    }
    labels = {"across": "From the left, %", "up": "From below, %"}
    polygon = drawn(run, key)
    corners = {"across": polygon.x, "up": polygon.y} if polygon else edges
    with st.expander("Draw a box with the keyboard", key=f"open-{key}-numbers"):
        st.caption("Tab to an end of a slider; arrow keys move it.")
        for side, (low, high) in edges.items():
            ends = [100 * (end(corners[side]) - low) / (high - low) for end in (min, max)]
            st.session_state[f"{key}-{side}"] = tuple(min(max(round(p), 0), 100) for p in ends)
            st.slider(
                labels[side],
                *FULL,
                key=f"{key}-{side}",
                on_change=lambda: _draw_box(run, edges, key, then or {}),
            )


def polygon_of(selection: Mapping[str, Any]) -> dict[str, tuple[float, ...]] | None:
    """Corners `x` and `y` of a chart selection's first lasso, or of its first box."""
    if selection["lasso"]:
        lasso = selection["lasso"][0]
        return {"x": tuple(lasso["x"]), "y": tuple(lasso["y"])} if len(lasso["x"]) >= 3 else None
    if selection["box"]:
        return _box(*(selection["box"][0][axis][:2] for axis in ("x", "y")))
    return None


def _draw_box(
    run: str, edges: Mapping[str, tuple[float, float]], key: str, then: Mapping[str, str]
) -> None:
    """Keep the box that the sliders give; none where both are at their full width."""
    shares = {side: st.session_state[f"{key}-{side}"] for side in edges}
    if all(tuple(share) == FULL for share in shares.values()):
        _keep(None, key)
        return
    x, y = (
        [low + share / 100 * (high - low) for share in shares[side]]
        for side, (low, high) in edges.items()
    )
    _keep({"discover": run, **_box(x, y)}, key)
    st.session_state.update(then)


def _copy(run: str, chart: str, key: str, then: Mapping[str, str]) -> None:
    """Keep the polygon of a gesture."""
    polygon = polygon_of(st.session_state[chart]["selection"])
    if polygon:
        step = -(-len(polygon["x"]) // CORNERS)
        polygon = {
            side: tuple(float(f"{n:.{DIGITS}g}") for n in corners[::step])
            for side, corners in polygon.items()
        }
    _keep({"discover": run, **polygon} if polygon else None, key)
    if polygon:
        st.session_state.update(then)


def _keep(polygon: dict[str, Any] | None, key: str) -> None:
    """Remember a region, and give its chart a new key."""
    st.session_state[key] = polygon
    st.session_state[f"{key}-drawing"] = _version(key) + 1


def _box(x: tuple[float, float], y: tuple[float, float]) -> dict[str, tuple[float, ...]]:
    return {"x": (x[0], x[1], x[1], x[0]), "y": (y[0], y[0], y[1], y[1])}


def _version(key: str) -> int:
    return int(st.session_state.get(f"{key}-drawing", 0))
