"""The clusters of a map as a table: what tells them apart first, all that is known if asked."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.workspace.labels import Labels
from pages.components import cache, pickers, selection, text
from pages.components.clusters import profile

KNOWN = {  # columns of a discover run, by what they are called here
    "push": "push",
    "push_low": "at least",
    "push_high": "at most",
    "top_group_similarity": "how far",
    "effect_size": "effect",
    "sign_agreement": "agreement",
    "stability": "stability",
    "push_share": "share of the push",
    "words_chosen": "gains",
    "words_rejected": "loses",
    "words_prompt": "prompt",
}
NUMBERS = {
    "share": "%.1f %%",
    "of it": "%.0f %%",
    "part": "%.0f %%",
    "push": "%.3f",
    "at least": "%.3f",
    "at most": "%.3f",
    "how far": "%.3f",
    "effect": "%.1f",
    "agreement": "%.2f",
    "stability": "%.2f",
    "share of the push": "%.2f",
}
WIDTHS = {  # of what fits beside each other on a laptop, pixels
    "name": 380,
    "mark": 70,
    "pairs": 55,
    "pushes": 150,
    "mostly": 240,
    "part": 48,
    "top source": 143,
}


def choose(run: str, names: Mapping[int, str], said: Labels, now: NDArray) -> int:
    """The cluster that was clicked, or picked by name; `now` as in `_clusters.membership`."""
    table = _listed(run, names, said, now)
    place = st.container()
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    everything = right.toggle("All columns", key="all-columns", help="Every number, and the words.")
    with place:
        _draw(table, everything)
        profile.stability(run)
    with left:
        return pickers.choose_one(
            "Cluster", list(table["cluster"]), lambda one: text.short(names[one], 80), key="one"
        )


def _draw(table: pd.DataFrame, everything: bool) -> None:
    """Draw the table; a row that is clicked becomes the chosen cluster."""
    filled = [name for name in table if (table[name].notna() & table[name].ne("")).any()]
    shown = [name for name in WIDTHS if name in filled]
    if "mostly" in shown:  # says more than the kind of prompts
        shown.remove("pushes")
    rest = [name for name in filled if name not in (*shown, "cluster")]
    columns = {name: st.column_config.Column(width=width) for name, width in WIDTHS.items()}
    columns |= {
        name: st.column_config.NumberColumn(format=form, width=WIDTHS.get(name))
        for name, form in NUMBERS.items()
    }
    event = st.dataframe(
        table,
        hide_index=True,
        height=min(38 + 35 * len(table), 300),
        on_select="rerun",
        selection_mode="single-row",
        key="cluster-rows",
        column_order=shown + rest if everything else shown,
        column_config=columns,
    )
    clicked = [number for number in event.selection.rows if number < len(table)]
    if clicked and st.session_state.get("clicked") != clicked[0]:
        st.session_state["one"] = int(table["cluster"].iloc[clicked[0]])
    st.session_state["clicked"] = clicked[0] if clicked else None


def _listed(run: str, names: Mapping[int, str], said: Labels, now: NDArray) -> pd.DataFrame:
    """One row per cluster as it is now."""
    sizes = pd.Series(now).value_counts()
    sources = pd.Series(selection.categories("source")[selection.map_rows(run)])
    rows = []
    for cluster, name in names.items():
        inside = sources[now == cluster]
        top = inside.value_counts(normalize=True)
        rows.append(
            {
                "cluster": cluster,
                "name": text.short(name, 85),
                "mark": said.marks.get(cluster) or "",
                "pairs": int(sizes.get(cluster, 0)),
                "share": 100 * sizes.get(cluster, 0) / len(now),
                "top source": text.short(top.index[0]) if len(inside) else "",
                "of it": 100 * top.iloc[0] if len(inside) else None,
                "notes": len(said.notes.get(cluster, ())),
            }
        )
    table = pd.DataFrame(rows).merge(_as_found(run), on="cluster", how="left")
    return table.merge(profile.shares(run), on="cluster", how="left")


def _as_found(run: str) -> pd.DataFrame:
    """What the discover run says of its clusters, as it found them."""
    found = cache.table(run, "clusters")
    kept = found.assign(pushes=found["top_group"] + ", " + found["top_condition"])
    known = [name for name in KNOWN if name in kept]
    words = [name for name in known if name.startswith("words_")]
    short = kept.assign(**{name: kept[name].map(text.short) for name in words})
    table = short[["cluster", "pushes", *known]].rename(columns=KNOWN)
    if "at least" not in table:
        return table
    ends = zip(table["at least"], table["at most"], strict=True)
    return table.assign(**{"95%": [f"{low:.3f}–{high:.3f}" for low, high in ends]})
