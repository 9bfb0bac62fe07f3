"""The map's figures, and the region that was drawn on it.

A lasso or box is kept as the polygon that was drawn, never as a list of points: which pairs lie
inside is decided in `core`, from all pairs, whether or not they are on the screen. The chart's
own selection would be sent again with every rerun, so the polygon is copied at once and the
chart gets a new key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.intervention.recipes import InPolygon
from pages import _colors

ON_SCREEN = 5_000  # points; a larger map is drawn as an even sample of its clusters
NOISE = "no cluster"
HEIGHT = 500  # pixels: the whole map fits a laptop, so that one gesture reaches all of it
PAIRS, PROMPTS = "region", "prompt-region"  # where the polygon of each map is kept


def region(run: str, kept: str = PAIRS) -> InPolygon | None:
    """The region that was drawn on a run's map of pairs (or of prompts)."""
    drawn = st.session_state.get(kept)
    if not drawn or drawn["discover"] != run:
        return None
    return InPolygon(**drawn)


def clear(kept: str = PAIRS) -> None:
    """Forget a region, and redraw its chart without it."""
    _keep(None, kept)


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


def figure(
    points: pd.DataFrame, *, inside: pd.Series, outline: InPolygon | None, title: str
) -> go.Figure:
    """Pairs by `category` or `value`; those not `inside` stay as grey context.

    `points` has `x, y, label` and either `category` (ordered) or `value`.
    """
    made = go.Figure()
    shown = _sample(points)
    chosen = inside.loc[shown.index]
    grey, colored = shown[~chosen], shown[chosen]
    if len(grey):
        made.add_trace(_points(grey, "not selected", {"color": _colors.GREY, "size": 4}))
    if "value" in shown:
        made.add_trace(_valued(colored, title))
    else:
        for position, name in enumerate(points["category"].cat.categories):
            rows = colored[colored["category"] == name]
            color, symbol = _colors.of_category(position)
            marker = {"color": color, "symbol": symbol, "size": 6}
            if name == NOISE:
                marker = {"color": _colors.GREY, "symbol": "circle-open", "size": 5}
            if len(rows):
                made.add_trace(_points(rows, str(name), marker))
    _outlined(made, outline)
    return _styled(made)


def prompts_figure(prompts: pd.DataFrame, outline: InPolygon | None) -> go.Figure:
    """The prompts' own map: by `value`, how far the selected pairs push each, else by group."""
    made = go.Figure()
    if "value" in prompts:
        made.add_trace(_valued(prompts, "mean push of the selection"))
    else:
        for position, (name, rows) in enumerate(prompts.groupby("group")):
            color, symbol = _colors.of_category(position)
            made.add_trace(_points(rows, str(name), {"color": color, "symbol": symbol, "size": 7}))
    _outlined(made, outline)
    return _styled(made)


def drawn_note(n: int) -> str:
    """What to say where not every point is drawn."""
    return f", {ON_SCREEN:,} of them drawn; a selection counts all" if n > ON_SCREEN else ""


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
        return {"x": (left, right, right, left), "y": (low, low, high, high)}
    return None


def _sample(points: pd.DataFrame) -> pd.DataFrame:
    if len(points) <= ON_SCREEN:
        return points
    return points.sample(ON_SCREEN, random_state=0)


def _points(rows: pd.DataFrame, name: str, marker: dict[str, Any]) -> go.Scattergl:
    return go.Scattergl(
        x=rows["x"],
        y=rows["y"],
        mode="markers",
        name=name,
        marker=marker,
        text=rows["label"],
        hovertemplate="%{text}<extra></extra>",
        unselected={"marker": {"opacity": 0.25}},
    )


def _valued(rows: pd.DataFrame, title: str) -> go.Scattergl:
    marker = {
        "color": rows["value"],
        "colorscale": _colors.DIVERGING,
        "cmid": 0,
        "showscale": True,
        "size": 6,
        "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 12},
    }
    return _points(rows, title, marker)


def _outlined(made: go.Figure, outline: InPolygon | None) -> None:
    """Show the region that was drawn."""
    if outline is not None:
        line = {"dash": "dot", "width": 2, "color": _colors.CATEGORIES[1]}
        made.add_shape(type="path", path=_path(outline), line=line)


def _path(outline: InPolygon) -> str:
    corners: Sequence[str] = [f"{x},{y}" for x, y in zip(outline.x, outline.y, strict=True)]
    return "M" + "L".join(corners) + "Z"


def _styled(made: go.Figure) -> go.Figure:
    hidden = {"showticklabels": False, "title": None, "zeroline": False, "showgrid": False}
    made.update_xaxes(**hidden)
    made.update_yaxes(**hidden, scaleanchor=None)
    made.update_layout(
        height=HEIGHT,
        dragmode="lasso",
        margin={"l": 5, "r": 5, "t": 10, "b": 10},
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        hoverlabel={"namelength": 0},
    )
    return made


def _drawing(kept: str) -> int:
    return int(st.session_state.get(f"{kept}-drawing", 0))
