"""The clusters of a map as a table: what tells them apart, and every number if asked."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.workspace.labels import Labels
from pages.components import cache, pickers, selection, text, theme
from pages.components.clusters import profile

COLUMNS = {  # of a discover run's table of clusters, by their titles here
    "push": "score",
    "top_group_similarity": "group similarity",
    "effect_size": "effect size",
    "sign_agreement": "sign agreement",
    "stability": "stability",
    "push_share": "share of attribution",
    "words_chosen": "chosen words",
    "words_rejected": "rejected words",
    "words_prompt": "prompt words",
}
FORMATS = {
    "share": "%.1f %%",
    "source share": "%.0f %%",
    "part": "%.0f %%",
    "score": "%.3f",
    "group similarity": "%.3f",
    "effect size": "%.1f",
    "sign agreement": "%.2f",
    "stability": "%.2f",
    "share of attribution": "%.2f",
}
WIDTHS = {  # of what fits side by side on a laptop, pixels
    "name": 380,
    "mark": 70,
    "pairs": 55,
    "prompts": 150,
    "behavior": 240,
    "part": 48,
    "top source": 143,
}


def choose(run: str, names: Mapping[int, str], labels: Labels, members: NDArray) -> int:
    """The cluster that was clicked, or picked by name; `members` as in `state.membership`."""
    table = _table(run, names, labels, members)
    place = st.container()
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    everything = right.toggle("All columns", key="all-columns", help="Every number, and the words.")
    with place:
        _draw(table, everything)
        profile.show_stability(run)
    with left:
        return pickers.choose_one(
            "Cluster",
            list(table["cluster"]),
            lambda cluster: text.short(names[cluster], 80),
            key="one",
        )


def _draw(table: pd.DataFrame, everything: bool) -> None:
    """Draw the table; a row that is clicked becomes the chosen cluster."""
    filled = [name for name in table if (table[name].notna() & table[name].ne("")).any()]
    first = [name for name in WIDTHS if name in filled]
    if "behavior" in first:  # says more than the group of prompts
        first.remove("prompts")
    rest = [name for name in filled if name not in (*first, "cluster")]
    event = st.dataframe(
        table,
        hide_index=True,
        height=min(38 + 35 * len(table), 300),
        on_select="rerun",
        selection_mode="single-row",
        key="cluster-rows",
        column_order=first + rest if everything else first,
        column_config=theme.columns(WIDTHS, FORMATS),
    )
    clicked = [number for number in event.selection.rows if number < len(table)]
    if clicked and st.session_state.get("clicked") != clicked[0]:
        st.session_state["one"] = int(table["cluster"].iloc[clicked[0]])
    st.session_state["clicked"] = clicked[0] if clicked else None


def _table(run: str, names: Mapping[int, str], labels: Labels, members: NDArray) -> pd.DataFrame:
    """One row per cluster as it is now."""
    sizes = pd.Series(members).value_counts()
    sources = pd.Series(selection.categories("source")[selection.map_rows(run)])
    rows = []
    for cluster, name in names.items():
        top = sources[members == cluster].value_counts(normalize=True)
        size = int(sizes.get(cluster, 0))
        rows.append(
            {
                "cluster": cluster,
                "name": text.short(name, 85),
                "mark": labels.marks.get(cluster) or "",
                "pairs": size,
                "share": 100 * size / len(members),
                "top source": text.short(top.index[0]) if size else "",
                "source share": 100 * top.iloc[0] if size else None,
                "notes": len(labels.notes.get(cluster, ())),
            }
        )
    table = pd.DataFrame(rows).merge(_as_discovered(run), on="cluster", how="left")
    return table.merge(profile.largest_parts(run), on="cluster", how="left")


def _as_discovered(run: str) -> pd.DataFrame:
    """The discover run's statistics of its clusters."""
    clusters = cache.table(run, "clusters")
    names = [name for name in COLUMNS if name in clusters]
    words = {name: clusters[name].map(text.short) for name in names if name.startswith("words_")}
    table = clusters[["cluster", *names]].assign(**words).rename(columns=COLUMNS)
    table["prompts"] = clusters["top_group"] + ", " + clusters["top_condition"]
    if "push_low" in clusters:
        ends = zip(clusters["push_low"], clusters["push_high"], strict=True)
        table["95%"] = [f"{low:.3f}–{high:.3f}" for low, high in ends]
    return table
