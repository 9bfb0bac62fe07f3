"""Behavior rates in words, tables and charts: with n, an interval, and what is unscored.

A judge's flag, such as `followed_format`, read on one group of prompts under one condition is a
behavior. It is called by the project's name for it, else by flag, group and condition.
"""

from collections.abc import Iterable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.report import figures
from core.specs.behaviors import Behavior

TERMS = ("Behavior rate", "Interval", "Reference, policy", "Condition")  # of the glossary


def flag_words(flag: str) -> str:
    """The flag alone, such as `followed format`."""
    return flag.replace("_", " ")


def behavior_names(cells: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.Series:
    """The name of each row's `flag, group, condition`."""
    names = {(b.flag, b.group, b.condition): b.name for b in behaviors}
    rows = zip(cells["flag"], cells["group"], cells["condition"], strict=True)
    texts = [names.get(row, f"{flag_words(row[0])} · {row[1]}, {row[2]}") for row in rows]
    return pd.Series(texts, index=cells.index, dtype=str)


def verdict(row: pd.Series, flag: str) -> str:
    """The judge's verdict on one completion."""
    if pd.isna(row[flag]):
        return "unscored"
    return flag_words(flag) if row[flag] else f"not {flag_words(flag)}"


def change(row: pd.Series) -> str:
    """A rate in both models and their difference with its 95% interval, in one line."""
    points = (100 * row[name] for name in ("change", "change_low", "change_high"))
    return (
        f"{row['reference']:.1%} → {row['policy']:.1%} "
        "({:+.1f} points, 95%\N{NBSP}[{:+.1f},\N{NBSP}{:+.1f}], ".format(*points)
        + f"{count(int(min(row['reference_n'], row['policy_n'])))} each)"
    )


def percent(rate: float, low: float, high: float, n: int) -> str:
    """A rate with its interval and n, in one line."""
    if pd.isna(rate):
        return f"nothing scored ({count(n)})"
    return f"{rate:.1%} {interval(low, high)}, {count(n)}"


def interval(low: float, high: float) -> str:
    """95% bounds; no line break separates them."""
    return f"[{low:.1%},\N{NBSP}{high:.1%}]"


def count(n: int) -> str:
    """How many completions were judged, without a line break."""
    return f"n\N{NBSP}=\N{NBSP}{n:,}"


def chart(rates: pd.DataFrame) -> go.Figure:
    """Dots with 95% intervals, one row per behavior and prompts, one color and marker a model."""
    prompts = rates["behavior"] + " · " + rates["group"] + ", " + rates["condition"]
    return figures.rates_chart(rates.assign(behavior=prompts), column="model")


def show_chart(rates: pd.DataFrame) -> None:
    """The chart, and its numbers as its text alternative."""
    alt = figures.rates_in_words(rates, column="model")
    st.plotly_chart(chart(rates), key="changes", alt=alt)


def show_table(rates: pd.DataFrame, *, column: str = "model") -> None:
    """The numbers behind the chart."""
    percents = {"rate": "rate", "low": "95% low", "high": "95% high"}
    table = rates.assign(
        prompts=rates["group"] + ", " + rates["condition"],
        wanted=rates["wanted"].map({True: "wanted", False: "unwanted"}),
        **{name: 100 * rates[name] for name in percents},
    ).rename(columns=percents | {"n_unscored": "unscored", "n_prompts": "n prompts"})
    st.dataframe(
        table,
        hide_index=True,
        column_order=["behavior", "prompts", "wanted", column, *percents.values(), "n", "unscored",
                      "n prompts"],
        column_config=dict.fromkeys(
            percents.values(), st.column_config.NumberColumn(format="%.1f %%")
        ),
    )  # fmt: skip
