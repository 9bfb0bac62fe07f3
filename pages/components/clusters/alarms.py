"""What nobody asked about: clusters of pairs behind a change that the reference did not show.

The order is `core.discovery.alarms`: how bad the change is on the prompts that a cluster pushes,
times the share of the push on them that it makes up. What people marked clusters with goes before
what the project says. That they go together is a hint to look at, not a proof.
"""

import pandas as pd
import streamlit as st

from core.discovery.alarms import ranked
from pages.components import cache, rates, text
from pages.components.clusters import state

SHOWN = 5
CHANGE = "what changed there"
WIDE = 48  # letters of a behavior's name, so that its rates are in sight
HELP = (
    "How bad the change is on the prompts that these pairs push (0 to 1), times the share of all "
    "push on those prompts that they make up."
)


def show(discover: str) -> None:
    """The clusters to look at first."""
    state.explain_few(discover)
    if not cache.has_table(discover, "changes"):
        st.info("This map was made by an earlier version. Run discover again to see alarms.")
        return
    table = listed(discover)
    if table.empty:
        st.info("No cluster of pairs goes with a change that nobody wants.")
        return
    st.caption(
        "Groups of pairs, found without any label, behind what changed for the worse: the worst "
        "change, and the largest part in it, first. A hint where to look."
    )
    st.dataframe(
        table.head(SHOWN),
        hide_index=True,
        column_order=["name", "pairs", "alarm", "mostly from", CHANGE, "wanted?", "mark"],
        column_config={
            "name": st.column_config.Column(width=260),
            "pairs": st.column_config.Column(width=50),
            "alarm": st.column_config.ProgressColumn(
                format="%.2f", min_value=0, max_value=1, help=HELP, width=90
            ),
            CHANGE: st.column_config.Column(width=446),
            "mostly from": st.column_config.Column(width=132),
        },
    )
    first = int(table["cluster"].iloc[0])
    st.page_link("clusters.py", label="Read and name them →", query_params={"one": str(first)})


def listed(discover: str) -> pd.DataFrame:
    """Clusters that are still there and raise an alarm, the worst first."""
    found = cache.table(discover, "clusters")
    said, names = state.labels(discover), state.names(discover)
    alarms = ranked(found, cache.table(discover, "changes"), cache.project().behaviors, said.marks)
    kept = alarms[alarms["cluster"].isin(names) & (alarms["alarm"] > 0)]
    sizes = found.set_index("cluster")
    what = rates.behavior_names(kept, cache.project().behaviors)
    return pd.DataFrame(
        {
            "cluster": kept["cluster"],
            "name": kept["cluster"].map(names),
            "mark": [said.marks.get(cluster, "") for cluster in kept["cluster"]],
            "pairs": kept["cluster"].map(sizes["size"]),
            "alarm": kept["alarm"],
            "mostly from": kept["cluster"].map(sizes["top_source"]),
            "wanted?": kept["verdict"],
            CHANGE: [_change(*one) for one in zip(what, kept.to_dict("records"), strict=True)],
        }
    )


def _change(what: str, row: dict[str, object]) -> str:
    """Its rate in both models with intervals and n."""
    before, after = (
        f"{row[model]:.0%} [{row[f'{model}_low']:.0%}, {row[f'{model}_high']:.0%}]"
        for model in ("reference", "policy")
    )
    return f"{text.short(what, WIDE)}: {before} → {after}, n = {row['n']:,}"
