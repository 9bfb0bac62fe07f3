"""What the judge's flags are called where people read them.

A flag, such as `followed_format`, is a name for programs. Read on one group of prompts under one
condition it is a behavior, which has a name where the project gives it one.

Behavior rates as people read them: with n, an interval, and what was left unscored.
"""

from collections.abc import Iterable, Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.report import figures
from core.specs.behaviors import Behavior


def flag_words(flag: str) -> str:
    """The flag alone, such as `followed format`."""
    return flag.replace("_", " ")


def behavior_names(cells: pd.DataFrame, behaviors: Iterable[Behavior]) -> pd.Series:
    """Each row's `flag, group, condition` by the project's name for it, else by what it is."""
    known = {(one.flag, one.group, one.condition): one.name for one in behaviors}
    rows = zip(cells["flag"], cells["group"], cells["condition"], strict=True)
    names = [known.get(row, f"{flag_words(row[0])} · {row[1]}, {row[2]}") for row in rows]
    return pd.Series(names, index=cells.index, dtype=str)


def verdict(row: pd.Series, flag: str) -> str:
    """What the judge said of one completion."""
    value = row[flag]
    return (
        "unscored" if pd.isna(value) else flag_words(flag) if value else f"not {flag_words(flag)}"
    )


TERMS = """
- **Behavior rate**: the share of judged completions that show the behavior. A completion that the
  judge could not read is *unscored*: it is counted, never taken for "no".
- **Interval**: 95%, by resampling whole prompts (a bootstrap clustered by prompt), because
  completions of one prompt are alike. It covers the choice of prompts, not of training seeds.
- **Reference** and **policy**: the model before and after preference training (DPO).
- **Plain** and **distractor**: the prompt alone, or with a trigger sentence after it.
"""


def other_changes(measured: pd.DataFrame, behaviors: Sequence[Behavior]) -> pd.DataFrame:
    """What changed, intervals apart, and belongs to no behavior of the project; largest first."""
    known = {(one.flag, one.group, one.condition) for one in behaviors}
    where = ["flag", "group", "condition"]
    wide = measured.set_index([*where, "model"])[["rate", "low", "high", "n"]].unstack("model")
    apart = wide["low"]["policy"] > wide["high"]["reference"]
    apart |= wide["high"]["policy"] < wide["low"]["reference"]
    wide = wide[apart & ~wide.index.isin(known)]
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
    """95% bounds, which no line break tears apart."""
    return f"[{low:.1%},\N{NBSP}{high:.1%}]"


def count(n: int) -> str:
    """How many completions were judged, which no line break tears apart."""
    return f"n\N{NBSP}=\N{NBSP}{n:,}"


def chart(rates: pd.DataFrame) -> go.Figure:
    """Dots with 95% intervals, one row per behavior and prompts, one color and marker a model."""
    prompts = rates["behavior"] + " · " + rates["group"] + ", " + rates["condition"]
    return figures.rates_chart(rates.assign(behavior=prompts), column="model")


def show_table(rates: pd.DataFrame, *, column: str = "model") -> None:
    """The numbers behind the chart."""
    shown = pd.DataFrame(
        {
            "behavior": rates["behavior"],
            "prompts": rates["group"] + ", " + rates["condition"],
            "wanted": rates["wanted"].map({True: "wanted", False: "unwanted"}),
            column: rates[column],
            "rate": rates["rate"] * 100,
            "95% low": rates["low"] * 100,
            "95% high": rates["high"] * 100,
            "n": rates["n"],
            "unscored": rates["n_unscored"],
            "n prompts": rates["n_prompts"],
        }
    )
    numbers = {
        name: st.column_config.NumberColumn(format="%.1f %%")
        for name in ("rate", "95% low", "95% high")
    }
    st.dataframe(shown, hide_index=True, column_config=numbers)


def show_terms() -> None:
    """What the words on rate charts mean."""
    with st.expander("What these words mean"):
        st.markdown(TERMS)
