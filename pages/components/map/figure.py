"""The figures of both maps: up to `DOTS` pairs are dots, more are one picture.

The picture (`core.discovery.raster`) is drawn under an even sample of invisible dots, which carry
the lasso and the text under the mouse. A figure of pairs is cached under everything that it is
drawn from; visitors share it.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.discovery import raster
from core.discovery.raster import View
from core.specs.recipes import InPolygon
from pages.components import theme
from pages.components.clusters import state
from pages.components.map.coloring import PALETTE, Coloring

DOTS = 5_000  # pairs that are drawn one by one
CARRIERS = 3_000  # invisible dots above the picture of a larger map
WITHOUT_GL = 1_000  # dots that are drawn sooner as shapes than in a canvas of the graphics card
CELLS = 48  # per axis: every cell that contains a pair has a carrier
IN_LEGEND = 8  # categories; the rest is counted
CACHED = 32  # figures, each up to 0.5 MB
Mask = NDArray[np.bool_]


def _digest(values: NDArray) -> bytes:
    """All of an array: Streamlit itself only samples large ones."""
    return hashlib.sha256(np.ascontiguousarray(values)).digest()


@st.cache_resource(
    show_spinner=False,
    max_entries=CACHED,
    hash_funcs={
        np.ndarray: _digest,
        pd.DataFrame: lambda places: _digest(places[["x", "y"]].to_numpy()),
        InPolygon: InPolygon.model_dump_json,
    },
)
def pairs_figure(
    run: str,
    places: pd.DataFrame,
    coloring: Coloring,
    *,
    shown: Mask,
    outline: InPolygon | None,
    part: View,
) -> go.Figure:
    """Pairs of a discover run, `uid, x, y`, in their colors. Shared: read-only.

    Those that are not `shown` stay as grey context; `part` of the map is in view.
    """
    made = go.Figure()
    if len(places) > DOTS:
        _add_picture(made, places, coloring, shown, part)
    else:
        _add_dots(made, places, coloring, shown)
    _add_outline(made, outline)
    theme.styled(made)
    made.update_xaxes(range=[part.left, part.right])
    made.update_yaxes(range=[part.low, part.high])
    return made


def prompts_figure(prompts: pd.DataFrame, outline: InPolygon | None) -> go.Figure:
    """The map of prompts: by `value`, the selected pairs' similarity to each, else by group."""
    made = go.Figure()
    trace = go.Scatter if len(prompts) <= WITHOUT_GL else go.Scattergl
    if "value" in prompts:
        title = "mean similarity of the selected pairs"
        marker = theme.scale(title, prompts["value"].to_numpy(float)) | {"size": 8}
        made.add_trace(_dots(prompts, "", marker, showlegend=False, trace=trace))
    else:
        for position, (name, rows) in enumerate(prompts.groupby("group")):
            color, symbol = theme.of_prompts(position)
            marker = {"color": color, "symbol": symbol, "size": 8}
            made.add_trace(_dots(rows, theme.label(name), marker, trace=trace))
    _add_outline(made, outline)
    return theme.styled(made)


def drawn_note(n: int) -> str:
    """How n pairs are drawn, where not every one is a dot."""
    return ", drawn as a picture; a selection counts all" if n > DOTS else ""


def add_image(made: go.Figure, source: str, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Put a picture under the axes, from x[0] to x[1] and from y[0] to y[1]."""
    made.add_layout_image(
        source=source, xref="x", yref="y", x=x[0], y=y[1], sizex=x[1] - x[0], sizey=y[1] - y[0],
        sizing="stretch", layer="below",
    )  # fmt: skip


def _add_dots(made: go.Figure, places: pd.DataFrame, coloring: Coloring, shown: Mask) -> None:
    if not shown.all():
        marker = {"color": theme.GREY, "size": 4}
        made.add_trace(_dots(places[~shown], "not selected", marker))
    if coloring.codes is None:
        limit = theme.limit_of(coloring.values)
        marker = theme.scale(coloring.title, coloring.values[shown], limit) | {"size": 6}
        made.add_trace(_dots(places[shown], theme.label(coloring.title), marker))
        return
    present = _present(coloring, shown)
    for number, code in enumerate(present):
        name, rows = coloring.names[code], places[shown & (coloring.codes == code)]
        in_legend = number < IN_LEGEND
        made.add_trace(_dots(rows, theme.label(name), _marker(code, name), showlegend=in_legend))
    _count_rest(made, len(present))


def _add_picture(
    made: go.Figure, places: pd.DataFrame, coloring: Coloring, shown: Mask, part: View
) -> None:
    x, y = places["x"].to_numpy(), places["y"].to_numpy()
    if coloring.codes is None:
        limit = theme.limit_of(coloring.values)
        values, colors = coloring.values / limit, theme.scale_colors()
        source = raster.value_map(x, y, values, shown=shown, colors=colors, view=part)
        made.add_trace(theme.legend("", theme.scale(coloring.title, [0.0], limit), entry=False))
    else:
        codes = coloring.palette_codes()
        source = raster.category_map(x, y, codes, shown=shown, colors=PALETTE, view=part)
        _add_legend(made, coloring, shown)
    add_image(made, source, (part.left, part.right), (part.low, part.high))
    carriers = places.iloc[_carriers(x, y, part)]
    made.add_trace(_dots(carriers, "", {"size": 5, "opacity": 0}, showlegend=False))


def _add_legend(made: go.Figure, coloring: Coloring, shown: Mask) -> None:
    """A legend for the picture: the first categories by name, the others counted."""
    if not shown.all():
        made.add_trace(theme.legend("not selected", {"color": theme.GREY}))
    present = _present(coloring, shown)
    for code in present[:IN_LEGEND]:
        marker = _marker(code, coloring.names[code]) | {"symbol": "circle"}
        made.add_trace(theme.legend(theme.label(coloring.names[code]), marker))
    _count_rest(made, len(present))


def _present(coloring: Coloring, shown: Mask) -> list[int]:
    """Categories of the pairs that are shown, in order."""
    return np.unique(coloring.codes[shown & (coloring.codes >= 0)]).tolist()


def _count_rest(made: go.Figure, n: int) -> None:
    """Say how many categories the legend leaves out: they would cover the map."""
    if n > IN_LEGEND:
        made.add_trace(theme.legend(f"and {n - IN_LEGEND} more", {"color": "rgba(0,0,0,0)"}))


def _carriers(x: NDArray, y: NDArray, part: View) -> NDArray[np.int64]:
    """Rows of one point per occupied cell of the view, and of a random rest; always the same."""
    seen = np.flatnonzero((x >= part.left) & (x <= part.right) & (y >= part.low) & (y <= part.high))
    seen = np.random.default_rng(0).permutation(seen)
    column = ((x[seen] - part.left) / (part.right - part.left) * CELLS).astype(np.int64)
    row = ((y[seen] - part.low) / (part.high - part.low) * CELLS).astype(np.int64)
    _, first = np.unique(row * (CELLS + 1) + column, return_index=True)
    rest = np.setdiff1d(np.arange(min(CARRIERS, len(seen))), first)
    return seen[np.concatenate([first, rest])[: max(CARRIERS, len(first))]]


def _dots(
    rows: pd.DataFrame,
    name: str,
    marker: dict[str, Any],
    *,
    showlegend: bool = True,
    trace: type[go.Scatter] | type[go.Scattergl] = go.Scattergl,
) -> go.Scatter | go.Scattergl:
    return trace(
        x=rows["x"].to_numpy(np.float32),
        y=rows["y"].to_numpy(np.float32),
        mode="markers",
        name=name,
        marker=marker,
        text=[theme.label(text) for text in rows["label" if "label" in rows else "uid"]],
        hovertemplate="%{text}<extra></extra>",
        showlegend=showlegend,
        unselected={"marker": {"opacity": 0.25 if "opacity" not in marker else 0}},
    )


def _marker(code: int, name: str) -> dict[str, Any]:
    if name == state.NOISE:
        return {"color": theme.NOISE, "symbol": "circle-open", "size": 5}
    color, symbol = theme.of_category(code)
    return {"color": color, "symbol": symbol, "size": 6}


def _add_outline(made: go.Figure, outline: InPolygon | None) -> None:
    """The region that was drawn."""
    if outline is not None:
        corners = "L".join(f"{x},{y}" for x, y in zip(outline.x, outline.y, strict=True))
        line = {"dash": "dot", "width": 2, "color": theme.CATEGORIES[1]}
        made.add_shape(type="path", path=f"M{corners}Z", line=line)
