"""The map's figures: up to `DOTS` pairs are dots, more are a picture.

The picture (`core.discovery.raster`) lies under an even sample of invisible dots, which carry the
gesture and say what lies under the mouse. Knows nothing of what was drawn before, but its outline.

The map's figure, kept between runs of the page that do not change it.

It is known by the discover run and a digest of all that it is drawn from; visitors share it, so it
is read-only. Knows nothing of how it is drawn.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.discovery import raster
from core.discovery.raster import View
from core.specs.recipes import InPolygon
from pages.components import cache, theme
from pages.components.clusters import state
from pages.components.map.coloring import Coloring
from pages.components.theme import label, legend, limit_of, scale, scale_colors, styled

DOTS = 5_000  # pairs that are drawn one by one
CARRIERS = 3_000  # invisible dots above the picture of a larger map
WITHOUT_GL = 1_000  # dots that are drawn sooner as shapes than in a canvas of the graphics card
CELLS = 48  # per axis: every cell that holds a pair has a carrier
IN_LEGEND = 8  # kinds; the rest is counted
Mask = NDArray[np.bool_]
Drawn = type[go.Scatter] | type[go.Scattergl]


def figure(
    places: pd.DataFrame, coloring: Coloring, *, shown: Mask, outline: InPolygon | None, part: View
) -> go.Figure:
    """Pairs, `uid, x, y`, in their colors; those that are not `shown` stay as grey context."""
    made = go.Figure()
    if len(places) > DOTS:
        _pictured(made, places, coloring, shown, part)
    else:
        _dotted(made, places, coloring, shown)
    _outlined(made, outline)
    styled(made)
    made.update_xaxes(range=[part.left, part.right])
    made.update_yaxes(range=[part.low, part.high])
    return made


def prompts_figure(prompts: pd.DataFrame, outline: InPolygon | None) -> go.Figure:
    """The prompts' own map: by `value`, how far the selected pairs push each, else by group."""
    made = go.Figure()
    drawn = go.Scatter if len(prompts) <= WITHOUT_GL else go.Scattergl
    if "value" in prompts:
        color = scale("mean push of the selected pairs", prompts["value"].to_numpy(float))
        made.add_trace(_dots(prompts, "", {**color, "size": 8}, showlegend=False, drawn=drawn))
    else:
        for position, (name, rows) in enumerate(prompts.groupby("group")):
            color, symbol = theme.of_prompts(position)
            marker = {"color": color, "symbol": symbol, "size": 8}
            made.add_trace(_dots(rows, label(name), marker, drawn=drawn))
    _outlined(made, outline)
    return styled(made)


def drawn_note(n: int) -> str:
    """What to say where not every pair is a dot."""
    return ", drawn as a picture; a selection counts all" if n > DOTS else ""


def _dotted(made: go.Figure, places: pd.DataFrame, coloring: Coloring, shown: Mask) -> None:
    if not shown.all():
        marker = {"color": theme.GREY, "size": 4}
        made.add_trace(_dots(places[~shown], "not selected", marker))
    if coloring.values is not None:
        limit = limit_of(coloring.values)
        color = scale(coloring.title, coloring.values[shown], limit)
        made.add_trace(_dots(places[shown], label(coloring.title), {**color, "size": 6}))
        return
    present = np.unique(coloring.kinds[shown & (coloring.kinds >= 0)])
    for number, kind in enumerate(present):
        name, rows = coloring.names[kind], places[shown & (coloring.kinds == kind)]
        named = number < IN_LEGEND
        made.add_trace(_dots(rows, label(name), _marker(int(kind), name), showlegend=named))
    _count_rest(made, len(present))


def _pictured(
    made: go.Figure, places: pd.DataFrame, coloring: Coloring, shown: Mask, part: View
) -> None:
    x, y = places["x"].to_numpy(), places["y"].to_numpy()
    if coloring.values is not None:
        limit = limit_of(coloring.values)
        source = raster.of_values(
            x, y, coloring.values / limit, shown=shown, colors=scale_colors(), view=part
        )
        made.add_trace(legend("", scale(coloring.title, [0.0], limit), entry=False))
    else:
        source = _picture_of_kinds(x, y, coloring, shown, part)
        _explained(made, coloring, shown)
    made.add_layout_image(
        source=source,
        xref="x",
        yref="y",
        x=part.left,
        y=part.high,
        sizex=part.right - part.left,
        sizey=part.high - part.low,
        sizing="stretch",
        layer="below",
    )
    carriers = places.iloc[_carriers(x, y, part)]
    made.add_trace(_dots(carriers, "", {"size": 5, "opacity": 0}, showlegend=False))


def _picture_of_kinds(x: NDArray, y: NDArray, coloring: Coloring, shown: Mask, part: View) -> str:
    """Colors repeat after eight kinds, as in the legend."""
    n = len(theme.CATEGORIES)
    kinds = np.where(coloring.kinds >= 0, coloring.kinds % n, n)
    if state.NOISE in coloring.names:
        kinds[coloring.kinds == coloring.names.index(state.NOISE)] = n
    colors = [*theme.CATEGORIES, theme.NOISE]
    return raster.of_kinds(x, y, kinds, shown=shown, colors=colors, view=part)


def _explained(made: go.Figure, coloring: Coloring, shown: Mask) -> None:
    """A legend for the picture: the first kinds by name, the others counted."""
    if not shown.all():
        made.add_trace(legend("not selected", {"color": theme.GREY}))
    present = np.unique(coloring.kinds[shown & (coloring.kinds >= 0)])
    for kind in present[:IN_LEGEND]:
        marker = _marker(int(kind), coloring.names[kind]) | {"symbol": "circle"}
        made.add_trace(legend(label(coloring.names[kind]), marker))
    _count_rest(made, len(present))


def _count_rest(made: go.Figure, n: int) -> None:
    """Say how many kinds the legend leaves out: they would cover the map."""
    if n > IN_LEGEND:
        made.add_trace(legend(f"and {n - IN_LEGEND} more", {"color": "rgba(0,0,0,0)"}))


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
    drawn: Drawn = go.Scattergl,
) -> go.Scatter | go.Scattergl:
    return drawn(
        x=rows["x"].to_numpy(np.float32),
        y=rows["y"].to_numpy(np.float32),
        mode="markers",
        name=name,
        marker=marker,
        text=[label(said) for said in rows["label" if "label" in rows else "uid"]],
        hovertemplate="%{text}<extra></extra>",
        showlegend=showlegend,
        unselected={"marker": {"opacity": 0.25 if "opacity" not in marker else 0}},
    )


def _marker(kind: int, name: str) -> dict[str, Any]:
    if name == state.NOISE:
        return {"color": theme.NOISE, "symbol": "circle-open", "size": 5}
    color, symbol = theme.of_category(kind)
    return {"color": color, "symbol": symbol, "size": 6}


def _outlined(made: go.Figure, outline: InPolygon | None) -> None:
    """Show the region that was drawn."""
    if outline is not None:
        line = {"dash": "dot", "width": 2, "color": theme.CATEGORIES[1]}
        made.add_shape(type="path", path=_path(outline), line=line)


def _path(outline: InPolygon) -> str:
    corners: Sequence[str] = [f"{x},{y}" for x, y in zip(outline.x, outline.y, strict=True)]
    return "M" + "L".join(corners) + "Z"


KEPT = 32  # figures, each up to 0.5 MB


def cached_figure(
    run: str,
    places: pd.DataFrame,
    coloring: Coloring,
    *,
    shown: NDArray[np.bool_],
    outline: InPolygon | None,
    part: View,
) -> go.Figure:
    """`_map.figure` of a discover run's places; shared, read-only."""
    said = (str(cache.store().folder(run)), coloring.title, coloring.names, outline, part)
    drawn_from = [places["x"], places["y"], coloring.kinds, coloring.values, shown]
    known = hashlib.sha256(repr(said).encode())
    for values in drawn_from:
        known.update(b"none" if values is None else np.ascontiguousarray(values))
    return _figure(
        known.hexdigest(),
        lambda: figure(places, coloring, shown=shown, outline=outline, part=part),
    )


@st.cache_resource(show_spinner=False, max_entries=KEPT)
def _figure(known: str, _draw: Callable[[], go.Figure]) -> go.Figure:
    return _draw()
