"""The condensed tree of a map: drawn as an icicle, and cut coarser or finer.

A cut is a discover run of its own; names and marks stay with their map, and are offered on the cut.
"""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.discovery.clustering import levels, n_groups
from core.specs.steps import DiscoverSpec
from core.workspace.labels import Labels
from pages.components import cache, jobs, theme
from pages.components.clusters import state

UNCUT = 0.0  # not a distance: the clusters of the base map
NAME = 46  # letters of a name that fit a cell
LETTER = 12  # pixels of a letter: none is smaller
ROW, HEIGHTS = 18, (220, 460)  # pixels: of the smallest cell where that is possible, of the chart
MARK_COLORS = {  # the mark is written beside the name too
    "harmful": "#D55E00",
    "unwanted": "#E69F00",
    "wanted": "#009E73",
    "ignore": "#8A9099",
}
SMALLEST = 0.002  # share of the pairs: smaller HDBSCAN clusters cannot be read


def show(run: str, labels: Labels, members: NDArray) -> None:
    """An icicle from left to right: all clusters, each cluster, the HDBSCAN clusters in it."""
    rows = _rows(run, labels, members)
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
    total = int((members != -1).sum())
    height = ROW * total / max(rows["pairs"].min(), 1)
    figure.update_layout(
        height=min(max(height, HEIGHTS[0]), HEIGHTS[1]),
        margin=dict.fromkeys("lrtb", 4),
        uniformtext={"minsize": LETTER, "mode": "hide"},
    )
    st.caption(
        f"{total:,} of {len(members):,} pairs are in a cluster. Areas are numbers of pairs, colors "
        "are marks; hover over a cell that is too small for its name."
    )
    st.plotly_chart(figure, key="tree", alt="Tree of the clusters, sized by their pairs.")


def show_levels(run: str) -> None:
    """A slider over the levels of the tree, and the job that cuts it there."""
    spec = cache.specs(DiscoverSpec)[run]
    base = spec.recut or run
    if not cache.has_table(base, "tree"):
        return
    tree = cache.table(base, "tree")
    counts = {level: n for n, level in levels(tree).items()}
    if not counts:
        return
    titles = {UNCUT: "as discovered", **{level: f"{n}" for level, n in counts.items()}}
    if spec.level is not None and spec.level not in counts:  # typed by hand
        counts[spec.level] = n_groups(tree, spec.level)
        titles[spec.level] = f"{counts[spec.level]} at {spec.level:.3g}"
    with st.expander("Coarser or finer: cut the tree at another level", key="open-levels"):
        st.caption(
            "Dense groups on the map split as you go finer; a cut makes each group a cluster. The "
            "pairs keep their places. A cut is a map of its own: labels of this map stay here, and "
            "are offered to the clusters of the cut that contain the same pairs."
        )
        level = st.select_slider(
            "Groups on the map",
            [UNCUT, *sorted(counts, key=lambda level: (counts[level], -level))],
            value=spec.level or UNCUT,
            format_func=titles.__getitem__,
            key=f"level-{run}",
        )
        cut = spec.model_copy(update={"recut": base, "level": level})
        other = base if level == UNCUT else jobs.panel(cut, "Cut it here")
        if other is not None and other != run:
            st.button("Show this cut", on_click=_open, args=(other,), key="show-cut")


def _open(run: str) -> None:
    st.session_state["discover"] = run


def _rows(run: str, labels: Labels, members: NDArray) -> pd.DataFrame:
    """`id, name, label, parent, pairs, color`; pairs in no cluster are left out."""
    rows = [_row("all", "in a cluster", "", (members != -1).sum(), theme.NOISE)]
    for cluster, name in state.names(run).items():
        inside = members == cluster
        if inside.any():
            mark = labels.marks.get(cluster)
            color = MARK_COLORS[mark] if mark else theme.CATEGORIES[0]
            rows.append(_row(f"c{cluster}", name, "all", inside.sum(), color, mark))
            rows += [
                _row(f"c{cluster}i{number}", f"HDBSCAN {number}", f"c{cluster}", size, color)
                for number, size in state.hdbscan_sizes(run, inside).items()
                if size >= SMALLEST * len(members)
            ]
    return pd.DataFrame(rows)


def _row(
    key: str, name: str, parent: str, pairs: int, color: str, mark: str | None = None
) -> dict[str, object]:
    suffix = f" · {mark}" if mark else ""
    full, cut = (theme.label(name, length) + suffix for length in (2 * theme.LABEL, NAME))
    cell = {"id": key, "name": full, "label": cut, "parent": parent}
    return cell | {"pairs": int(pairs), "color": color}
