"""The clusters as a tree: all pairs, the clusters as they are now, the map's islands in them."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.runs.labels import Labels
from pages import _chart, _clusters, _colors, _loaders

ROOT = "all pairs"
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
            texttemplate="%{label}<br>%{value:,} pairs",
            hovertemplate="%{label}<br>%{value:,} pairs<extra></extra>",
            sort=False,
        )
    )
    figure.update_layout(height=60 + 26 * min(len(rows), 16), margin=dict.fromkeys("lrtb", 4))
    st.plotly_chart(figure, key="tree", alt="Tree of the clusters, sized by their pairs.")


def _rows(run: str, said: Labels, now: NDArray[np.int64]) -> pd.DataFrame:
    """`id, label, parent, pairs, color`; what is left over goes to `in no cluster`."""
    names = _clusters.names(run)
    rows = [{"id": ROOT, "label": ROOT, "parent": "", "pairs": len(now), "color": _colors.NOISE}]
    for cluster, name in names.items():
        own = now == cluster
        if own.any():
            mark = said.marks.get(cluster)
            label = _chart.label(name) + (f" · {mark}" if mark else "")
            color = MARKED[mark] if mark else _colors.CATEGORIES[0]
            rows.append(_row(f"c{cluster}", label, ROOT, own.sum(), color))
            rows += [
                _row(f"c{cluster}i{island}", f"island {island}", f"c{cluster}", size, color)
                for island, size in _islands(run, own).items()
            ]
    rows.append(_row("none", "in no cluster", ROOT, (now == -1).sum(), _colors.NOISE))
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


def _row(name: str, label: str, parent: str, pairs: int, color: str) -> dict[str, object]:
    return {"id": name, "label": label, "parent": parent, "pairs": int(pairs), "color": color}
