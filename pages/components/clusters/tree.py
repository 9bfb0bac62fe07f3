"""The clusters as a tree: all pairs in one, the clusters as they are now, their islands.

Coarser and finer: the same map cut at another level of its tree, as a run of its own.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.discovery.condensed_tree import groups, levels
from core.specs.steps import DiscoverSpec
from core.workspace.labels import Labels
from pages.components import cache, jobs, theme
from pages.components.clusters import state

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
    names = state.names(run)
    rows = [_row("all", ROOT, "", (now != -1).sum(), theme.NOISE)]
    for cluster, name in names.items():
        own = now == cluster
        if own.any():
            mark = said.marks.get(cluster)
            color = MARKED[mark] if mark else theme.CATEGORIES[0]
            rows.append(_row(f"c{cluster}", name, "all", own.sum(), color, mark))
            rows += [
                _row(f"c{cluster}i{island}", f"island {island}", f"c{cluster}", size, color)
                for island, size in _islands(run, own).items()
            ]
    return pd.DataFrame(rows)


def _islands(run: str, own: NDArray[np.bool_]) -> dict[int, int]:
    """Sizes of the islands inside a cluster, where it is made of more than one."""
    places = cache.map_points(run)
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
    full, cut = (theme.label(name, length) + marked for length in (2 * theme.LABEL, NAME))
    shown = {"id": key, "name": full, "label": cut, "parent": parent}
    return shown | {"pairs": int(pairs), "color": color}


AS_FOUND = 0.0  # no distance: the clusters that discovery itself made


def show_levels(run: str) -> None:
    """A slider over the tree; names and marks stay with their map, and are offered on the other."""
    spec = cache.specs(DiscoverSpec)[run]
    base = spec.recut or run
    if not cache.has_table(base, "tree"):
        return
    tree = cache.table(base, "tree")
    known = {level: n for n, level in levels(tree).items()}
    if not known:
        return
    numbers = {level: f"{n}" for level, n in known.items()}
    if spec.level is not None and spec.level not in known:  # typed by hand
        known[spec.level] = groups(tree, spec.level)
        numbers[spec.level] = f"{known[spec.level]} at {spec.level:.3g}"
    with st.expander("Coarser or finer: cut the map at another level", key="open-levels"):
        st.caption(
            "Groups that lie densely together on the map split as you go finer. A cut makes "
            "clusters of such groups; the places of the pairs stay as they are. It is a map of its "
            "own: what was said here stays here, and is offered to the clusters there that hold "
            "the same pairs."
        )
        chosen = st.select_slider(
            "Groups on the map",
            [AS_FOUND, *sorted(known, key=lambda level: (known[level], -level))],
            value=spec.level or AS_FOUND,
            format_func=lambda level: numbers.get(level, "as found"),
            key=f"level-{run}",
        )
        if chosen == AS_FOUND:
            other: str | None = base
        else:
            other = jobs.panel(
                spec.model_copy(update={"recut": base, "level": chosen}), "Cut it here"
            )
        if other is not None and other != run:
            st.button("Show this cut", on_click=_open, args=(other,), key="show-cut")


def _open(run: str) -> None:
    st.session_state["discover"] = run
