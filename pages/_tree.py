"""The clusters as a tree: all pairs in one, the clusters as they are now, their islands."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.runs.labels import Labels
from pages import _chart, _clusters, _colors, _loaders

ROOT = "in a cluster"
NAME = 46  # letters of a name that fit a cell
LETTER = 12  # pixels of a letter: none is smaller
ROW, HEIGHTS = 18, (220, 460)  # pixels: of the smallest cell where that is possible, of the chart
MARKED = {  # of a mark; the mark is written beside the name too
    "harmful": "#D55E00",
    "unwanted": "#E69F00",
    "wanted": "#009E73",
    "ignore": "#8A9099",
}
SMALLEST = 0.002  # share of the pairs: smaller islands cannot be read


def show(run: str, said: Labels, now: NDArray[np.int64]) -> None:
    """An icicle from left to right; areas are pairs, colors are marks."""
    rows = _rows(run, said, now)
    figure = go.Figure(
        go.Icicle(
            ids=rows["id"],
            labels=rows["label"],
            parents=rows["parent"],
            values=rows["pairs"],
            branchvalues="total",
            tiling={"orientation": "h"},
            marker={"colors": rows["color"]},
            leaf={"opacity": 1},
            customdata=rows["name"],
            texttemplate="%{label} · %{value:,}",
            hovertemplate="%{customdata}<br>%{value:,} pairs<extra></extra>",
            sort=False,
        )
    )
    held = int((now != -1).sum())
    wanted = ROW * held / max(rows["pairs"].min(), 1)
    figure.update_layout(
        height=min(max(wanted, HEIGHTS[0]), HEIGHTS[1]),
        margin=dict.fromkeys("lrtb", 4),
        uniformtext={"minsize": LETTER, "mode": "hide"},
    )
    st.caption(
        f"{held:,} of {len(now):,} pairs are in a cluster. Areas are numbers of pairs; a cell too "
        "small for its name says it under the mouse."
    )
    st.plotly_chart(figure, key="tree", alt="Tree of the clusters, sized by their pairs.")


def _rows(run: str, said: Labels, now: NDArray[np.int64]) -> pd.DataFrame:
    """`id, name, label, parent, pairs, color`; pairs in no cluster are left out."""
    names = _clusters.names(run)
    rows = [_row("all", ROOT, "", (now != -1).sum(), _colors.NOISE)]
    for cluster, name in names.items():
        own = now == cluster
        if own.any():
            mark = said.marks.get(cluster)
            color = MARKED[mark] if mark else _colors.CATEGORIES[0]
            rows.append(_row(f"c{cluster}", name, "all", own.sum(), color, mark))
            rows += [
                _row(f"c{cluster}i{island}", f"island {island}", f"c{cluster}", size, color)
                for island, size in _islands(run, own).items()
            ]
    return pd.DataFrame(rows)


def _islands(run: str, own: NDArray[np.bool_]) -> dict[int, int]:
    """Sizes of the islands inside a cluster, where it is made of more than one."""
    places = _loaders.places(run)
    if "island" not in places:
        return {}
    inside = places.loc[own & (places["island"] >= 0).to_numpy(), "island"]
    sizes = inside.value_counts()
    readable = sizes[sizes >= SMALLEST * len(places)]
    return {int(island): int(size) for island, size in readable.items()} if len(sizes) > 1 else {}


def _row(
    key: str, name: str, parent: str, pairs: int, color: str, mark: str | None = None
) -> dict[str, object]:
    marked = f" · {mark}" if mark else ""
    full, cut = (_chart.label(name, length) + marked for length in (2 * _chart.LABEL, NAME))
    shown = {"id": key, "name": full, "label": cut, "parent": parent}
    return shown | {"pairs": int(pairs), "color": color}
