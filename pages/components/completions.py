"""Completions of the same prompt by two models side by side, with the judge's verdicts."""

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
    prompts = tables[0].drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    prompt = st.selectbox(
        "Prompt",
        ids,
        format_func=lambda prompt: text.short(prompts[prompt]),
        key=key,
        help="Those on which the two models differ most come first.",
    )
    st.caption("Words that only one of two similar completions has are marked.")
    first, second = (table[table["prompt_id"] == prompt] for table in tables)
    show_rollouts((left[0], first), (right[0], second), behavior.flag)


def show_rollouts(
    left: tuple[str, pd.DataFrame], right: tuple[str, pd.DataFrame], flag: str
) -> None:
    """A prompt, and two models' completions of it by rollout; each model as its name and rows."""
    text.box("prompt, as sent", left[1]["prompt"].iloc[0])
    rollouts = [rows.sort_values("rollout").iterrows() for _, rows in (left, right)]
    for (_, a), (_, b) in zip(*rollouts, strict=False):
        text.side_by_side(
            f"{left[0]}: {rates.verdict(a, flag)}", a["completion"],
            f"{right[0]}: {rates.verdict(b, flag)}", b["completion"],
        )  # fmt: skip


def by_difference(left: pd.DataFrame, right: pd.DataFrame, flag: str) -> list[str]:
    """Prompts that both measured, those whose rates of the flag differ most first."""
    first, second = (
        table.groupby("prompt_id", sort=False)[flag].mean().astype(float) for table in (left, right)
    )
    change = (first - second).abs().reindex(first.index[first.index.isin(second.index)])
    return list(change.sort_values(ascending=False, kind="stable").index)


def of_behavior(table: pd.DataFrame, behavior: Behavior) -> pd.DataFrame:
    """The completions that measure a behavior."""
    rows = (table["group"] == behavior.group) & (table["condition"] == behavior.condition)
    return table[rows]
