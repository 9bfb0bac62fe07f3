"""What nobody asked about: clusters of pairs that push some prompts far, and what changed there.

A cluster is named by the kind of prompts (group and condition) that it pushes most. It is listed
by how far it pushes them times how many pairs do, next to the flag that changed most on those
prompts. That they go together is a hint to look at, not a proof.
"""

import pandas as pd
import streamlit as st

from pages import _clusters, _loaders

SHOWN = 5
CHANGE = "what changed there"


def show(discover: str, measured: pd.DataFrame) -> None:
    """The clusters to look at first; `measured` is the rates of a generate run."""
    table = listed(discover, measured)
    if table.empty:
        st.info("No cluster of pairs pushes any kind of prompts.")
        return
    st.caption(
        "Groups of pairs, found without any label, that push one kind of prompts furthest, next "
        "to what changed most on those prompts. A hint where to look."
    )
    st.dataframe(
        table.head(SHOWN),
        hide_index=True,
        column_order=["name", "pairs", "mostly from", "pushes", "how far", CHANGE, "mark"],
        column_config={"how far": st.column_config.NumberColumn(format="%.3f")},
    )
    first = int(table["cluster"].iloc[0])
    st.page_link("clusters.py", label="Read and name them", query_params={"one": str(first)})


def listed(discover: str, measured: pd.DataFrame) -> pd.DataFrame:
    """Clusters that are still there and not marked `ignore`, the strongest push first."""
    found = _loaders.table(discover, "clusters")
    said, names = _clusters.labels(discover), _clusters.names(discover)
    kept = found[found["cluster"].isin(names) & (found["top_group_similarity"] > 0)]
    kept = kept[kept["cluster"].map(said.marks) != "ignore"]
    push = kept["size"] * kept["top_group_similarity"]
    kept = kept.loc[push.sort_values(ascending=False).index]
    return pd.DataFrame(
        {
            "cluster": kept["cluster"],
            "name": kept["cluster"].map(names),
            "mark": [said.marks.get(cluster, "") for cluster in kept["cluster"]],
            "pairs": kept["size"],
            "mostly from": kept["top_source"],
            "pushes": kept["top_group"] + ", " + kept["top_condition"],
            "how far": kept["top_group_similarity"],
            CHANGE: [
                _change(measured, group, condition)
                for group, condition in zip(kept["top_group"], kept["top_condition"], strict=True)
            ],
        }
    )


def _change(measured: pd.DataFrame, group: str, condition: str) -> str:
    """The flag that changed most on a kind of prompts, with both intervals and n."""
    rows = measured[(measured["group"] == group) & (measured["condition"] == condition)]
    wide = rows.set_index(["flag", "model"])[["rate", "low", "high", "n"]].unstack("model")
    change = (wide["rate"]["policy"] - wide["rate"]["reference"]).abs().dropna()
    if change.empty:
        return "not measured"
    flag = change.idxmax()
    before, after = (
        f"{wide['rate'][model][flag]:.0%} [{wide['low'][model][flag]:.0%}, "
        f"{wide['high'][model][flag]:.0%}]"
        for model in ("reference", "policy")
    )
    return f"{flag}: {before} → {after}, n = {int(wide['n']['policy'][flag]):,}"
