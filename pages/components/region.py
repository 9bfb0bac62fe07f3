"""The region that was drawn on a map, and the part of the map that is looked at.

A lasso or box is kept as the polygon that was drawn, never as a list of points: which pairs lie
inside is decided in `core`, from all pairs, whether or not they are on the screen. The chart's
own selection would be sent again with every rerun, so the polygon is copied at once and the
chart gets a new key. `by_numbers` says a box without a mouse.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.discovery.raster import View
from core.specs.recipes import InPolygon

PAIRS, PROMPTS = "region", "prompt-region"  # where the polygon of each map is kept
WHOLE = (0, 100)  # per cent of a map's extent


def drawn(run: str, kept: str = PAIRS) -> InPolygon | None:
    """The region that was drawn on a run's map of pairs (or of prompts)."""
    polygon = st.session_state.get(kept)
    if not polygon or polygon["discover"] != run:
        return None
    return InPolygon(**polygon)


def clear(kept: str = PAIRS) -> None:
    """Forget a region, and redraw its chart without it."""
    _keep(None, kept)


def view(run: str, whole: View) -> View:
    """The part of the map that is looked at."""
    chosen = st.session_state.get(f"view-{run}")
    return View(**chosen) if chosen else whole


def zoom(run: str, part: View | None) -> None:
    """Zoom to a part of the map; None shows all of it."""
    st.session_state[f"view-{run}"] = asdict(part) if part else None
    _keep(st.session_state.get(PAIRS), PAIRS)


def draw(
    figure: go.Figure, run: str, kept: str = PAIRS, *, alt: str, then: dict[str, str] | None = None
) -> None:
    """A map, ready for a lasso or a box; a gesture also sets the widgets named in `then`."""
    key = f"{kept}-{run}-{_drawing(kept)}"
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: _copy(run, key, kept, then or {}),
        selection_mode=("lasso", "box"),
        config={"scrollZoom": True, "displaylogo": False},
        alt=alt,
    )


def show_sliders(
    run: str, whole: View, kept: str = PAIRS, *, then: dict[str, str] | None = None
) -> None:
    """Two sliders that draw a box on the map, for the keyboard; a drawn region moves them."""
    edges = {"across": (whole.left, whole.right), "up": (whole.low, whole.high)}
    polygon = drawn(run, kept)
    corners = {"across": polygon.x, "up": polygon.y} if polygon else edges
    labels = {"across": "From the left, %", "up": "From below, %"}
    with st.expander("Draw a box with the keyboard", key=f"open-{kept}-numbers"):
        st.caption("Tab to an end of a slider; arrow keys move it.")
        for side, (low, high) in edges.items():
            found = [100 * (end(corners[side]) - low) / (high - low) for end in (min, max)]
            st.session_state[f"{kept}-{side}"] = tuple(min(max(round(p), 0), 100) for p in found)
            st.slider(
                labels[side],
                *WHOLE,
                key=f"{kept}-{side}",
                on_change=lambda: _boxed(run, edges, kept, then or {}),
            )


def _boxed(
    run: str, edges: Mapping[str, tuple[float, float]], kept: str, then: Mapping[str, str]
) -> None:
    """Keep the box that the sliders say; both at their full width say none."""
    shares = {side: st.session_state[f"{kept}-{side}"] for side in edges}
    if all(tuple(one) == WHOLE for one in shares.values()):
        _keep(None, kept)
        return
    (left, right), (low, high) = (
        [edges[side][0] + share / 100 * (edges[side][1] - edges[side][0]) for share in shares[side]]
        for side in ("across", "up")
    )
    _keep({"discover": run, **_box(left, right, low, high)}, kept)
    st.session_state.update(then)


def _copy(run: str, key: str, kept: str, then: Mapping[str, str]) -> None:
    """Keep the polygon of a gesture."""
    polygon = _polygon(st.session_state[key]["selection"])
    _keep({"discover": run, **polygon} if polygon else None, kept)
    if polygon:
        st.session_state.update(then)


def _keep(drawn: dict[str, Any] | None, kept: str) -> None:
    """Remember a region, and give its chart a new key."""
    st.session_state[kept] = drawn
    st.session_state[f"{kept}-drawing"] = _drawing(kept) + 1


def _polygon(selection: Mapping[str, Any]) -> dict[str, tuple[float, ...]] | None:
    """Corners of the first lasso, or of the first box."""
    if selection["lasso"]:
        drawn = selection["lasso"][0]
        return {"x": tuple(drawn["x"]), "y": tuple(drawn["y"])} if len(drawn["x"]) >= 3 else None
    if selection["box"]:
        (left, right), (low, high) = (selection["box"][0][axis][:2] for axis in ("x", "y"))
        return _box(left, right, low, high)
    return None


def _box(left: float, right: float, low: float, high: float) -> dict[str, tuple[float, ...]]:
    return {"x": (left, right, right, left), "y": (low, low, high, high)}


def _drawing(kept: str) -> int:
    return int(st.session_state.get(f"{kept}-drawing", 0))
