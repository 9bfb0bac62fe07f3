"""What two models wrote after the same prompt, side by side, with the behavior's flag in words."""

import pandas as pd
import streamlit as st

from core.specs.behaviors import Behavior
from pages.components import cache, rates, text


def compare(left: tuple[str, str], right: tuple[str, str], behavior: Behavior, *, key: str) -> None:
    """Two evaluate runs, each as its name and id; the prompt is chosen here.

    Prompts on which the two differ most come first.
    """
    tables = [of_behavior(cache.table(run, "completions"), behavior) for _, run in (left, right)]
    ids = by_difference(*tables, behavior.flag)
    if not ids:
        st.info("No held-out prompt measures this behavior.")
        return
    first = tables[0].drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    prompt = st.selectbox(
        "Prompt",
        ids,
        format_func=lambda one: text.short(first[one]),
        key=key,
        help="Those on which the two models differ most come first.",
    )
    st.caption("Words that only one of two similar completions has are marked.")
    own = [t[t["prompt_id"] == prompt].sort_values("rollout") for t in tables]
    text.box("prompt, as sent", first[prompt])
    for (_, a), (_, b) in zip(own[0].iterrows(), own[1].iterrows(), strict=False):
        text.side_by_side(
            f"{left[0]}: {rates.verdict(a, behavior.flag)}",
            a["completion"],
            f"{right[0]}: {rates.verdict(b, behavior.flag)}",
            b["completion"],
        )


def by_difference(left: pd.DataFrame, right: pd.DataFrame, flag: str) -> list[str]:
    """Prompts that both measured, those whose rates of the flag differ most first."""
    one, other = (
        table.groupby("prompt_id", sort=False)[flag].mean().astype(float) for table in (left, right)
    )
    apart = (one - other).abs().reindex(one.index[one.index.isin(other.index)])
    return list(apart.sort_values(ascending=False, kind="stable").index)


def of_behavior(table: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    """The completions that measure a behavior."""
    kept = (table["group"] == behavior.group) & (table["condition"] == behavior.condition)
    return table[kept]
