"""Behavior rates in words, tables and charts: with n, an interval, and what is unscored.

A judge's flag, such as `followed_format`, read on one group of prompts under one condition is a
behavior. It is called by the project's name for it, else by flag, group and condition.
"""

from collections.abc import Iterable, Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.report import figures
from core.specs.behaviors import Behavior

TERMS = ("Behavior rate", "Interval", "Reference, policy", "Plain, distractor")  # of the glossary


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


def other_changes(measured: pd.DataFrame, behaviors: Sequence[Behavior]) -> pd.DataFrame:
    """What changed, intervals apart, and belongs to no behavior of the project; largest first."""
    if measured.empty:
        return pd.DataFrame()
    named = {(b.flag, b.group, b.condition) for b in behaviors}
    cell = ["flag", "group", "condition"]
    wide = measured.set_index([*cell, "model"])[["rate", "low", "high", "n"]].unstack("model")
    changed = wide["low"]["policy"] > wide["high"]["reference"]
    changed |= wide["high"]["policy"] < wide["low"]["reference"]
    wide = wide[changed & ~wide.index.isin(named)]
    table = wide.index.to_frame(index=False)
    table["flag"] = table["flag"].map(flag_words)
    for model in ("reference", "policy"):
        columns = [wide[name][model] for name in ("rate", "low", "high", "n")]
        table[model] = [percent(r, lo, hi, int(n)) for r, lo, hi, n in zip(*columns, strict=True)]
    table["change, points"] = (100 * (wide["rate"]["policy"] - wide["rate"]["reference"])).values
    return table.sort_values("change, points", key=abs, ascending=False, ignore_index=True)


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
