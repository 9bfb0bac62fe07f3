"""Clusters to look at first: pairs behind a change that the reference did not show.

The order is `core.discovery.alarms`: how bad the change is on the prompts that a cluster scores
highest on, times its share of the attribution there. Marks override the project's behaviors. An
alarm is a hint, not a proof.
"""

from typing import Any

import pandas as pd
import streamlit as st

from core.discovery.alarms import ranked
from pages.components import cache, rates, text, theme
from pages.components.clusters import state

SHOWN = 5
CHANGE = "what changed there"
LETTERS = 48  # of a behavior's name, so that its rates are in sight
WIDTHS = {"name": 260, "pairs": 50, "mostly from": 132, CHANGE: 446}
HELP = (
    "How bad the change is on the prompts that these pairs score highest on (0 to 1), times their "
    "share of all attribution on those prompts."
)


def show(run: str) -> None:
    """The clusters of a discover run to look at first."""
    state.explain_few(run)
    if not cache.has_table(run, "changes"):
        st.info("This map was made by an earlier version. Run discover again to see alarms.")
        return
    table = alarm_table(run)
    if table.empty:
        st.info("No cluster of pairs goes with an unwanted change.")
        return
    st.caption(
        "Clusters of pairs, made without any label, behind changes for the worse: the worst change "
        "and the largest share of it first. A hint where to look."
    )
    alarm = st.column_config.ProgressColumn(
        format="%.2f", min_value=0, max_value=1, help=HELP, width=90
    )
    st.dataframe(
        table.head(SHOWN),
        hide_index=True,
        column_order=["name", "pairs", "alarm", "mostly from", CHANGE, "wanted?", "mark"],
        column_config=theme.columns(WIDTHS) | {"alarm": alarm},
    )
    first = str(table["cluster"].iloc[0])
    st.page_link("clusters.py", label="Read and name them →", query_params={"one": first})


def show_moved(run: str) -> None:
    """The clusters of a discover run by what they moved, where no judge says what that is."""
    state.explain_few(run)
    clusters, names = cache.table(run, "clusters"), state.names(run)
    if "push_share" not in clusters:
        st.info("This map was made by an earlier version. Run discover again to see this.")
        return
    moved = clusters[clusters["cluster"].isin(names) & (clusters["push"] > 0)]
    if moved.empty:
        return
    moved = moved.sort_values("push_share", ascending=False).head(SHOWN)
    st.caption(
        "Clusters of pairs, made without any label or judge, by their share of all attribution on "
        "the prompts whose completions they move most."
    )
    share = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width=90)
    st.dataframe(
        pd.DataFrame(
            {
                "name": moved["cluster"].map(names),
                "pairs": moved["size"],
                "share": moved["push_share"],
                "mostly from": moved["top_source"],
                "words of their prompts": moved["words_prompt"],
                "words chosen": moved["words_chosen"],
                "words rejected": moved["words_rejected"],
            }
        ),
        hide_index=True,
        column_config=theme.columns(WIDTHS) | {"share": share},
    )
    first = str(moved["cluster"].iloc[0])
    st.page_link("clusters.py", label="Read and name them →", query_params={"one": first})


def alarm_table(run: str) -> pd.DataFrame:
    """Clusters that still exist and raise an alarm, the worst first."""
    clusters, behaviors = cache.table(run, "clusters"), cache.project().behaviors
    marks, names = state.labels(run).marks, state.names(run)
    alarms = ranked(clusters, cache.table(run, "changes"), behaviors, marks)
    alarms = alarms[alarms["cluster"].isin(names) & (alarms["alarm"] > 0)]
    facts = clusters.set_index("cluster")
    changed = rates.behavior_names(alarms, behaviors)
    return pd.DataFrame(
        {
            "cluster": alarms["cluster"],
            "name": alarms["cluster"].map(names),
            "cell": list(zip(alarms["flag"], alarms["group"], alarms["condition"], strict=True)),
            "mark": [marks.get(cluster, "") for cluster in alarms["cluster"]],
            "pairs": alarms["cluster"].map(facts["size"]),
            "alarm": alarms["alarm"],
            "mostly from": alarms["cluster"].map(facts["top_source"]),
            "wanted?": alarms["verdict"],
            CHANGE: [_change(*row) for row in zip(changed, alarms.to_dict("records"), strict=True)],
        }
    )


def _change(behavior: str, row: dict[Any, Any]) -> str:
    """A behavior's rate in both models with intervals and n."""
    before, after = (
        f"{row[model]:.0%} [{row[f'{model}_low']:.0%}, {row[f'{model}_high']:.0%}]"
        for model in ("reference", "policy")
    )
    return f"{text.short(behavior, LETTERS)}: {before} → {after}, n = {row['n']:,}"
