"""The clustered heatmap: prompts by pairs, alike beside alike, and the part that was brushed.

A box across it selects pairs by their places, from left to right; one that leaves rows out also
chooses prompts. Like on the map the box itself is kept, and the slider below says the same.
"""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.discovery import heatmap
from core.specs.recipes import InBand
from pages.components import cache, theme
from pages.components.clusters import state
from pages.components.map import coloring as colorings

BAND, ROWS = "band", "prompt-band"  # where the two sides of the box are kept
SLIDER = "heatmap-slider"  # one key whatever is drawn: a slider that is made anew loses the focus
STRIP = 0.035  # of the height: the colors of the clusters, and of the kinds of prompts
NEARLY_ALL = 0.9  # of the rows: a box over so many is about pairs only
Mask = NDArray[np.bool_]


def available(run: str) -> bool:
    """Whether the discover run has an order: earlier versions wrote none."""
    return "place" in cache.map_points(run) and "place" in cache.table(run, "prompts")


def band(run: str, kept: str = BAND) -> InBand | None:
    """The places that were brushed: of pairs, or of prompts."""
    chosen = st.session_state.get(f"heatmap-{kept}")
    return InBand(**chosen) if chosen and chosen["discover"] == run else None


def clear(kept: str = BAND) -> None:
    """Forget what was brushed."""
    st.session_state[f"heatmap-{kept}"] = None
    st.session_state["heatmap-drawing"] = _drawing() + 1


def draw(run: str, coloring: colorings.Coloring, shown: Mask) -> None:
    """The heatmap and its slider; columns without a selected pair fade."""
    n = int(cache.map_points(run)["place"].max()) + 1
    key = f"heatmap-{run}-{_drawing()}"
    st.plotly_chart(
        figure(run, coloring, shown),
        key=key,
        on_select=lambda: _copy(run, key),
        selection_mode="box",
        config={"displaylogo": False},
        alt="Heatmap: prompts from bottom to top, pairs from left to right, alike beside alike.",
    )
    chosen = band(run)
    st.session_state[SLIDER] = (chosen.low, chosen.high) if chosen else (0, max(n - 1, 1))
    st.slider(
        "Pairs from the left",
        0,
        max(n - 1, 1),
        key=SLIDER,
        on_change=lambda: _keep(run, BAND, *st.session_state[SLIDER], n),
        help="The same as a box on the heatmap.",
    )


def figure(run: str, coloring: colorings.Coloring, shown: Mask) -> go.Figure:
    """Mean similarity per cell; strips tell the pairs' kinds (below) and the prompts' (left)."""
    places, prompts = cache.map_points(run), cache.table(run, "prompts")
    columns, rows = _cells(run)
    values = _means(str(cache.store().output(run)), run)
    n, height = int(places["place"].max()) + 1, int(prompts["place"].max()) + 1
    seen = np.bincount(columns[shown & (columns >= 0)], minlength=values.shape[1]) > 0
    limit = theme.limit_of(values)
    made = go.Figure()
    scale = heatmap.picture(values, limit=limit, shown=seen, colors=theme.scale_colors())
    _lay(made, scale, (0, n), (0, height))
    _strips(made, coloring, prompts, (columns, rows), (n, height))
    made.add_trace(theme.legend("", theme.scale("mean similarity", [0.0], limit), entry=False))
    made.add_trace(_carriers(values, n, height, prompts, rows))
    theme.styled(made)
    made.update_xaxes(range=[-STRIP * n / 2, n], title=None)
    made.update_yaxes(range=[-STRIP * height, height], title=None)
    made.update_layout(dragmode="select")
    chosen = band(run)
    if chosen:
        made.add_vrect(chosen.low, chosen.high + 1, line={"dash": "dot", "width": 2})
    return made


def _strips(
    made: go.Figure,
    coloring: colorings.Coloring,
    prompts: pd.DataFrame,
    cells: tuple[NDArray, NDArray],
    extent: tuple[int, int],
) -> None:
    (columns, rows), (n, height) = cells, extent
    groups = pd.Categorical(prompts["group"])
    left = heatmap.most_frequent(np.asarray(groups.codes, np.int64), rows)
    repeat = len(theme.CATEGORIES)
    colors = [*theme.CATEGORIES, theme.NOISE]
    beside = heatmap.strip(left % repeat, theme.PROMPTS, upright=True)
    _lay(made, beside, (-STRIP * n / 2, 0), (0, height))
    for kind, name in enumerate(groups.categories):
        marker = {"color": theme.PROMPTS[kind % repeat], "symbol": "square"}
        made.add_trace(theme.legend(f"{theme.label(name)} prompts", marker))
    if coloring.kinds is None:
        return
    kinds = np.where(coloring.kinds >= 0, coloring.kinds % repeat, -1)
    if state.NOISE in coloring.names:
        kinds[coloring.kinds == coloring.names.index(state.NOISE)] = repeat
    below = heatmap.strip(heatmap.most_frequent(kinds, columns), colors)
    _lay(made, below, (0, n), (-STRIP * height, 0))


def _lay(made: go.Figure, source: str, x: tuple[float, float], y: tuple[float, float]) -> None:
    made.add_layout_image(
        source=source,
        xref="x",
        yref="y",
        x=x[0],
        y=y[1],
        sizex=x[1] - x[0],
        sizey=y[1] - y[0],
        sizing="stretch",
        layer="below",
    )


def _carriers(
    values: NDArray, n: int, height: int, prompts: pd.DataFrame, rows: NDArray
) -> go.Scattergl:
    """Invisible dots that carry the box and say what lies under the mouse."""
    across, up = np.linspace(0, values.shape[1] - 1, 60), np.linspace(0, values.shape[0] - 1, 24)
    column, row = (grid.ravel().astype(int) for grid in np.meshgrid(across, up))
    kinds = (prompts["group"] + ", " + prompts["condition"]).groupby(rows).first()
    return go.Scattergl(
        x=(column + 0.5) * n / values.shape[1],
        y=(row + 0.5) * height / values.shape[0],
        mode="markers",
        marker={"size": 8, "opacity": 0},
        text=[
            f"{theme.label(kinds.get(r, ''))}: {values[r, c]:+.3f}"
            for r, c in zip(row, column, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        unselected={"marker": {"opacity": 0}},
    )


def _copy(run: str, key: str) -> None:
    """Keep the two sides of a box."""
    boxes: list[dict[str, Any]] = st.session_state[key]["selection"]["box"]
    if not boxes:
        clear(BAND)
        clear(ROWS)
        return
    n = int(cache.map_points(run)["place"].max()) + 1
    height = int(cache.table(run, "prompts")["place"].max()) + 1
    _keep(run, BAND, *sorted(boxes[0]["x"][:2]), n)
    low, high = sorted(boxes[0]["y"][:2])
    if high - low < NEARLY_ALL * height:
        _keep(run, ROWS, low, high, height)
        st.session_state["color"] = colorings.PUSH


def _keep(run: str, kept: str, low: float, high: float, n: int) -> None:
    """Places from low to high, unless that is all of them."""
    first, last = max(int(low), 0), min(int(high), n - 1)
    whole = first == 0 and last == n - 1
    chosen = None if whole else {"discover": run, "low": min(first, last), "high": last}
    st.session_state[f"heatmap-{kept}"] = chosen
    st.session_state["heatmap-drawing"] = _drawing() + 1


def _cells(run: str) -> tuple[NDArray, NDArray]:
    pairs, prompts = cache.map_points(run)["place"], cache.table(run, "prompts")["place"]
    return (
        heatmap.cells(pairs.to_numpy(np.int64), heatmap.COLUMNS),
        heatmap.cells(prompts.to_numpy(np.int64), heatmap.ROWS),
    )


@st.cache_resource(show_spinner="Averaging the matrix …", max_entries=8)
def _means(output: str, run: str) -> NDArray:
    columns, rows = _cells(run)
    return heatmap.means(cache.store().output(run), rows, columns)


def _drawing() -> int:
    return int(st.session_state.get("heatmap-drawing", 0))
