"""The clustered heatmap: prompts by pairs, similar ones side by side, and a selection on it.

A box across it selects pairs by their places, from left to right; one that leaves rows out also
chooses prompts. As on the map the box itself is kept, and the slider below says the same.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.discovery import heatmap, raster
from core.specs.recipes import InBand
from pages.components import cache, theme
from pages.components.map.coloring import PALETTE, TO_PROMPTS, Coloring
from pages.components.map.figure import add_image, prompt_labels

BAND, ROWS = "band", "prompt-band"  # where the two sides of the box are kept
SLIDER = "heatmap-slider"  # one key whatever is drawn: a new slider would lose the focus
STRIP = 0.035  # of the height: the colors of the clusters, and of the groups of prompts
NEARLY_ALL = 0.9  # of the rows: a box over so many is about pairs only
Mask = NDArray[np.bool_]


def available(run: str) -> bool:
    """Whether the discover run has an order: earlier versions wrote none."""
    return "place" in cache.map_points(run) and "place" in cache.table(run, "prompts")


def band(run: str, key: str = BAND) -> InBand | None:
    """The places that were selected: of pairs, or of prompts."""
    chosen = st.session_state.get(f"heatmap-{key}")
    return InBand(**chosen) if chosen and chosen["discover"] == run else None


def clear(key: str = BAND) -> None:
    """Forget what was selected."""
    _keep(key, None)


def draw(run: str, coloring: Coloring, shown: Mask, texts: pd.Series) -> None:
    """The heatmap and its slider; columns without a selected pair fade.

    `texts` are those of the prompts, by `prompt_id` and `condition`.
    """
    last = max(_extent(run)[0] - 1, 1)
    key = f"heatmap-{run}-{_drawing()}"
    st.plotly_chart(
        figure(run, coloring, shown, texts),
        key=key,
        on_select=lambda: _copy(run, key),
        selection_mode="box",
        config={"displaylogo": False},
        alt="Heatmap: prompts from bottom to top, pairs from left to right, similar ones together.",
    )
    chosen = band(run)
    st.session_state[SLIDER] = (chosen.low, chosen.high) if chosen else (0, last)
    st.slider(
        "Pairs from the left",
        0,
        last,
        key=SLIDER,
        on_change=lambda: _select(run, BAND, *st.session_state[SLIDER]),
        help="The same as a box on the heatmap.",
    )


def figure(run: str, coloring: Coloring, shown: Mask, texts: pd.Series) -> go.Figure:
    """Mean similarity per cell; strips show the pairs' categories (below) and the prompts' (left).

    `shown` (pair,) are the selected ones.
    """
    columns, rows = _cells(run)
    values = _means(str(cache.store().output(run)), run)
    n, height = _extent(run)
    seen = np.bincount(columns[shown & (columns >= 0)], minlength=values.shape[1]) > 0
    limit, colors = theme.limit_of(values), theme.scale_colors()
    picture = raster.value_grid(values, limit=limit, shown=seen, colors=colors)
    made = go.Figure()
    add_image(made, picture, (0, n), (0, height))
    _add_prompt_strip(made, run, rows, (-STRIP * n / 2, 0), (0, height))
    if coloring.codes is not None:
        below = heatmap.majority(coloring.palette_codes(), columns)
        add_image(made, raster.category_strip(below, PALETTE), (0, n), (-STRIP * height, 0))
    made.add_trace(theme.legend("", theme.scale("mean similarity", [0.0], limit), entry=False))
    made.add_trace(_carriers(run, values, coloring, texts))
    theme.styled(made)
    made.update_xaxes(range=[-STRIP * n / 2, n], title=None)
    made.update_yaxes(range=[-STRIP * height, height], title=None)
    made.update_layout(dragmode="select")
    if chosen := band(run):
        made.add_vrect(chosen.low, chosen.high + 1, line={"dash": "dot", "width": 2})
    return made


def _add_prompt_strip(
    made: go.Figure, run: str, rows: NDArray, x: tuple[float, float], y: tuple[float, float]
) -> None:
    """Groups of prompts beside the rows, in the colors of the map of prompts, with a legend."""
    groups = pd.Categorical(cache.table(run, "prompts")["group"])
    codes = heatmap.majority(np.asarray(groups.codes, np.int64), rows) % len(theme.PROMPTS)
    add_image(made, raster.category_strip(codes, theme.PROMPTS, upright=True), x, y)
    for code, name in enumerate(groups.categories):
        marker = {"color": theme.of_prompts(code)[0], "symbol": "square"}
        made.add_trace(theme.legend(f"{theme.label(name)} prompts", marker))


def _carriers(run: str, values: NDArray, coloring: Coloring, texts: pd.Series) -> go.Scattergl:
    """Invisible dots that carry the box, a prompt's text, and what most pairs there are."""
    prompts, (_, rows), (n, height) = cache.table(run, "prompts"), _cells(run), _extent(run)
    across, up = np.linspace(0, values.shape[1] - 1, 60), np.linspace(0, values.shape[0] - 1, 24)
    column, row = (grid.ravel().astype(int) for grid in np.meshgrid(across, up))
    first = prompts.groupby(rows).first()
    called = dict(zip(first.index, prompt_labels(first, texts), strict=True))
    most = np.full(values.shape[1], -1)
    if coloring.codes is not None:
        most = heatmap.majority(coloring.codes, _cells(run)[0])
    pairs = [theme.label(coloring.names[code]) if code >= 0 else "" for code in most]
    return go.Scattergl(
        x=(column + 0.5) * n / values.shape[1],
        y=(row + 0.5) * height / values.shape[0],
        mode="markers",
        marker={"size": 8, "opacity": 0},
        text=[
            f"{called.get(r, '')}<br>{pairs[c]}: {values[r, c]:+.3f}"
            for r, c in zip(row, column, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        unselected={"marker": {"opacity": 0}},
    )


def _copy(run: str, key: str) -> None:
    """Keep the two sides of a box."""
    boxes = st.session_state[key]["selection"]["box"]
    if not boxes:
        clear(BAND)
        clear(ROWS)
        return
    _select(run, BAND, *sorted(boxes[0]["x"][:2]))
    low, high = sorted(boxes[0]["y"][:2])
    if high - low < NEARLY_ALL * _extent(run)[1]:
        _select(run, ROWS, low, high)
        st.session_state["color"] = TO_PROMPTS


def _select(run: str, key: str, low: float, high: float) -> None:
    """Keep the places from low to high, unless those are all."""
    end = _extent(run)[1 if key == ROWS else 0] - 1
    first, last = max(int(low), 0), min(int(high), end)
    box = {"discover": run, "low": min(first, last), "high": last}
    _keep(key, None if (first, last) == (0, end) else box)


def _keep(key: str, box: dict[str, object] | None) -> None:
    """Keep one side of a box, and give the chart a new key: it would send its own box again."""
    st.session_state[f"heatmap-{key}"] = box
    st.session_state["heatmap-drawing"] = _drawing() + 1


def _drawing() -> int:
    return int(st.session_state.get("heatmap-drawing", 0))


def _extent(run: str) -> tuple[int, int]:
    """Numbers of places: of pairs, of prompts."""
    pairs, prompts = cache.map_points(run)["place"], cache.table(run, "prompts")["place"]
    return int(pairs.max()) + 1, int(prompts.max()) + 1


def _cells(run: str) -> tuple[NDArray, NDArray]:
    """(pair,) columns and (prompt,) rows of the picture."""
    pairs, prompts = cache.map_points(run)["place"], cache.table(run, "prompts")["place"]
    return (
        heatmap.cells(pairs.to_numpy(np.int64), heatmap.COLUMNS),
        heatmap.cells(prompts.to_numpy(np.int64), heatmap.ROWS),
    )


@st.cache_resource(show_spinner="Averaging the matrix …", max_entries=8)
def _means(output: str, run: str) -> NDArray:
    columns, rows = _cells(run)
    return heatmap.cell_means(cache.store().output(run), rows, columns)
