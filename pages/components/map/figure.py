"""The figures of both maps: up to `DOTS` pairs are dots, more are one picture.

Lines of equal density lie beneath. The picture (`core.discovery.raster`) is drawn under an even
sample of invisible dots, which carry the lasso and the clicks; a dot's `customdata` is its row on
the map. Names are in the middle of their clusters, the largest first, as many as have room: more as
one zooms in. Clicking a name chooses the cluster. A figure of pairs is cached under everything that
it is drawn from; visitors share it.
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
from core.specs.steps import DiscoverSpec
from pages.components import cache, theme
from pages.components.clusters import state
from pages.components.map.coloring import PALETTE, Coloring

DOTS = 5_000  # pairs that are drawn one by one
CARRIERS = 1_200  # invisible dots above the picture of a larger map
WITHOUT_GL = 1_000  # dots that are drawn sooner as shapes than in a canvas of the graphics card
CELLS = 32  # per axis: every cell that contains a pair has a carrier
PROMPT = 90  # letters of a prompt under the mouse
NAME = 26  # letters of a cluster's name on the map
ROOM = (0.013, 0.045)  # of the map's width per letter, of its height per name
FEWEST = 0.002  # of the pairs in view: smaller clusters are not named
LABEL = {
    "showarrow": False, "bgcolor": "rgba(255,255,255,.78)", "borderpad": 2,
    "font": {"size": 12, "color": "#1A1A1A"},
}  # fmt: skip
CROWD = 500  # pairs from which lines of equal density are drawn
GRID, SMOOTH, LINES = 64, 2.0, 6  # cells per axis of the density, cells that it is smoothed over
HEIGHT = 620  # pixels: as high as a laptop shows
CACHED = 32  # figures, each up to 0.5 MB
Mask = NDArray[np.bool_]
Names = tuple[NDArray[np.integer], dict[int, str]]  # (pair,) its cluster; clusters to name


def _digest(values: NDArray) -> bytes:
    """All of an array: Streamlit itself only samples large ones."""
    return hashlib.sha256(np.ascontiguousarray(values)).digest()


def _places_digest(places: pd.DataFrame) -> bytes:
    return _digest(places["x"].to_numpy()) + _digest(places["y"].to_numpy())


@st.cache_resource(
    show_spinner=False,
    max_entries=CACHED,
    hash_funcs={
        np.ndarray: _digest,
        pd.DataFrame: _places_digest,
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
    names: Names | None = None,
) -> go.Figure:
    """Pairs of a discover run, `uid, x, y`, in their colors. Shared: read-only.

    Those that are not `shown` stay as grey context; `part` of the map is in view.
    """
    made = go.Figure()
    if len(places) >= CROWD:
        made.add_trace(_contours(places, part))
    if len(places) > DOTS:
        _add_picture(made, places, coloring, shown, part)
    else:
        _add_dots(made, places, coloring, shown)
    _add_outline(made, outline)
    theme.styled(made).update_layout(height=HEIGHT)
    if names is not None:
        members, called = names
        _add_names(made, _middles(places, members, part), called, part)
    made.update_xaxes(range=[part.left, part.right])
    made.update_yaxes(range=[part.low, part.high])
    return made


def prompts_figure(prompts: pd.DataFrame, outline: InPolygon | None) -> go.Figure:
    """The map of prompts, each with its `label` under the mouse.

    Colored by `value`, the selected pairs' similarity to each, else by group.
    """
    made = go.Figure()
    trace = go.Scatter if len(prompts) <= WITHOUT_GL else go.Scattergl
    if "value" in prompts:
        title = "mean similarity of the selected pairs"
        marker = theme.scale(title, prompts["value"].to_numpy(float)) | {"size": 8}
        made.add_trace(_prompt_dots(prompts, "", marker, trace))
    else:
        for position, (name, rows) in enumerate(prompts.groupby("group")):
            color, symbol = theme.of_prompts(position)
            marker = {"color": color, "symbol": symbol, "size": 8}
            made.add_trace(_prompt_dots(rows, theme.label(name), marker, trace))
    _add_outline(made, outline)
    return theme.styled(made)


def prompt_texts(run: str) -> pd.Series:
    """The text of every prompt of a discover run, as sent, by `prompt_id` and `condition`."""
    generate, keys = cache.specs(DiscoverSpec)[run].generate, ["prompt_id", "condition"]
    if cache.store().state(generate) != "finished" or not cache.has_table(generate, "completions"):
        return pd.Series(dtype=str)
    table = cache.table(generate, "completions")[[*keys, "prompt"]]
    return table.drop_duplicates(keys).set_index(keys)["prompt"]


def prompt_labels(prompts: pd.DataFrame, texts: pd.Series) -> list[str]:
    """What is under the mouse at a prompt: its text, if there is one, and what it is called."""
    keys = zip(prompts["prompt_id"], prompts["condition"], strict=True)
    sent = [theme.label(texts.get(key, ""), PROMPT) for key in keys]
    called = prompts["prompt_id"] + ", " + prompts["condition"]
    labels = [theme.label(name) for name in called]
    return [f"{a}<br>{b}" if a else b for a, b in zip(sent, labels, strict=True)]


def drawn_rows(places: pd.DataFrame, part: View) -> NDArray[np.int64]:
    """Rows of the map that have a dot: all, or those of the carriers above a picture."""
    if len(places) <= DOTS:
        return np.arange(len(places))
    return _carriers(places, part)


def drawn_note(n: int) -> str:
    """How n pairs are drawn, where not every one is a dot."""
    return ", drawn as a picture; a selection counts all" if n > DOTS else ""


def add_image(made: go.Figure, source: str, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Put a picture under the axes, from x[0] to x[1] and from y[0] to y[1]."""
    made.add_layout_image(
        source=source, xref="x", yref="y", x=x[0], y=y[1], sizex=x[1] - x[0], sizey=y[1] - y[0],
        sizing="stretch", layer="below",
    )  # fmt: skip


@st.cache_resource(
    show_spinner=False, max_entries=CACHED, hash_funcs={pd.DataFrame: _places_digest}
)
def _contours(places: pd.DataFrame, part: View) -> go.Contour:
    """Lines of equal density of all pairs in view, each at twice that of the one outside it."""
    from scipy.ndimage import gaussian_filter

    placed = places[["x", "y"]].dropna().to_numpy(float)
    ends = (part.left, part.right), (part.low, part.high)
    counts, x, y = np.histogram2d(*placed.T, bins=GRID, range=ends)
    density = gaussian_filter(counts.T, SMOOTH)
    z = np.log2(np.maximum(density / (density.max() or 1), 2.0**-LINES)).astype(np.float32)
    return go.Contour(
        x=(x[:-1] + x[1:]) / 2, y=(y[:-1] + y[1:]) / 2, z=z, hoverinfo="skip",
        contours={"coloring": "none", "start": 1 - LINES, "end": -1, "size": 1},
        line={"width": 1, "color": theme.GREY}, showscale=False, showlegend=False,
    )  # fmt: skip


def _add_dots(made: go.Figure, places: pd.DataFrame, coloring: Coloring, shown: Mask) -> None:
    if not shown.all():
        marker = {"color": theme.GREY, "size": 4}
        made.add_trace(_dots(places, np.flatnonzero(~shown), "not selected", marker))
    if coloring.codes is None:
        limit = theme.limit_of(coloring.values)
        marker = theme.scale(coloring.title, coloring.values[shown], limit) | {"size": 6}
        made.add_trace(_dots(places, np.flatnonzero(shown), theme.label(coloring.title), marker))
        return
    for code in np.unique(coloring.codes[shown & (coloring.codes >= 0)]).tolist():
        name, rows = coloring.names[code], np.flatnonzero(shown & (coloring.codes == code))
        made.add_trace(_dots(places, rows, theme.label(name), _marker(code, name)))


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
    add_image(made, source, (part.left, part.right), (part.low, part.high))
    made.add_trace(_dots(places, drawn_rows(places, part), "", {"size": 5, "opacity": 0}))


@st.cache_resource(
    show_spinner=False,
    max_entries=CACHED,
    hash_funcs={np.ndarray: _digest, pd.DataFrame: _places_digest},
)
def _middles(places: pd.DataFrame, members: NDArray, part: View) -> pd.DataFrame:
    """Medians `x, y` of what is in view of each cluster, by cluster, the largest first."""
    seen = places["x"].between(part.left, part.right) & places["y"].between(part.low, part.high)
    shown = places.loc[seen.to_numpy(), ["x", "y"]].astype(float)
    groups = shown.groupby(members[seen.to_numpy()])
    sizes = groups.size().sort_values(ascending=False, kind="stable")
    return groups.median().loc[sizes.index[sizes >= FEWEST * len(shown)]]


def _add_names(made: go.Figure, middles: pd.DataFrame, names: dict[int, str], part: View) -> None:
    """Names at the middles of their clusters, where none is in the way."""
    wide, high = part.right - part.left, part.high - part.low
    taken: list[tuple[float, float, float]] = []
    for cluster, *at in middles.itertuples():
        if cluster not in names:
            continue
        name = theme.label(names[cluster], NAME)
        half = ROOM[0] * wide * len(name) / 2
        at = max(part.left + half, min(at[0], part.right - half)), at[1]  # none is cut off
        if all(
            abs(at[0] - left) > half + other or abs(at[1] - low) > ROOM[1] * high
            for left, low, other in taken
        ):
            taken.append((*at, half))
            made.add_annotation(x=at[0], y=at[1], text=name, name=str(cluster), **LABEL)


@st.cache_resource(
    show_spinner=False, max_entries=CACHED, hash_funcs={pd.DataFrame: _places_digest}
)
def _carriers(places: pd.DataFrame, part: View) -> NDArray[np.int64]:
    """Rows of one point per occupied cell of the view, and of a random rest; always the same."""
    x, y = places["x"].to_numpy(), places["y"].to_numpy()
    seen = np.flatnonzero((x >= part.left) & (x <= part.right) & (y >= part.low) & (y <= part.high))
    seen = np.random.default_rng(0).permutation(seen)
    column = ((x[seen] - part.left) / (part.right - part.left) * CELLS).astype(np.int64)
    row = ((y[seen] - part.low) / (part.high - part.low) * CELLS).astype(np.int64)
    _, first = np.unique(row * (CELLS + 1) + column, return_index=True)
    rest = np.setdiff1d(np.arange(min(CARRIERS, len(seen))), first)
    return seen[np.concatenate([first, rest])[: max(CARRIERS, len(first))]]


def _dots(
    places: pd.DataFrame, rows: NDArray[np.integer], name: str, marker: dict[str, Any]
) -> go.Scattergl:
    """Some rows of the map; what is under the mouse is shown as a card."""
    return go.Scattergl(
        x=places["x"].to_numpy(np.float32)[rows],
        y=places["y"].to_numpy(np.float32)[rows],
        mode="markers",
        name=name,
        marker=marker,
        customdata=rows.astype(np.int32),
        hoverinfo="none",
        showlegend=False,
        unselected={"marker": {"opacity": 0.25 if "opacity" not in marker else 0}},
    )


def _prompt_dots(
    rows: pd.DataFrame,
    name: str,
    marker: dict[str, Any],
    trace: type[go.Scatter] | type[go.Scattergl],
) -> go.Scatter | go.Scattergl:
    return trace(
        x=rows["x"].to_numpy(np.float32),
        y=rows["y"].to_numpy(np.float32),
        mode="markers",
        name=name,
        marker=marker,
        text=list(rows["label"]),
        hovertemplate="%{text}<extra></extra>",
        showlegend="value" not in rows,
        unselected={"marker": {"opacity": 0.25}},
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
