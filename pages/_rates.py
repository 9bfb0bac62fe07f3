"""Behavior rates as people read them: with n, an interval, and what was left unscored."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.data.behaviors import Behavior
from pages import _colors

TERMS = """
- **Behavior rate**: the share of judged completions that show the behavior. A completion that the
  judge could not read is *unscored*: it is counted, never taken for "no".
- **Interval**: 95%, by resampling whole prompts (a bootstrap clustered by prompt), because
  completions of one prompt are alike. It covers the choice of prompts, not of training seeds.
- **Reference** and **policy**: the model before and after preference training (DPO).
- **Plain** and **distractor**: the prompt alone, or with a trigger sentence after it.
"""


def unnamed(measured: pd.DataFrame, behaviors: Sequence[Behavior]) -> pd.DataFrame:
    """What changed, intervals apart, and belongs to no behavior of the project; largest first."""
    known = {(one.flag, one.group, one.condition) for one in behaviors}
    where = ["flag", "group", "condition"]
    wide = measured.set_index([*where, "model"])[["rate", "low", "high", "n"]].unstack("model")
    apart = wide["low"]["policy"] > wide["high"]["reference"]
    apart |= wide["high"]["policy"] < wide["low"]["reference"]
    wide = wide[apart & ~wide.index.isin(known)]
    table = wide.index.to_frame(index=False)
    for model in ("reference", "policy"):
        columns = [wide[name][model] for name in ("rate", "low", "high", "n")]
        table[model] = [percent(r, lo, hi, int(n)) for r, lo, hi, n in zip(*columns, strict=True)]
    table["change, points"] = (100 * (wide["rate"]["policy"] - wide["rate"]["reference"])).values
    return table.sort_values("change, points", key=abs, ascending=False, ignore_index=True)


def percent(rate: float, low: float, high: float, n: int) -> str:
    """A rate with its interval and n, in one line."""
    if pd.isna(rate):
        return f"nothing scored (n = {n:,})"
    return f"{rate:.1%} [{low:.1%}, {high:.1%}], n = {n:,}"


def label(row: pd.Series) -> str:
    """Which rate it is: behavior, then the prompts it is measured on."""
    return f"{row['behavior']} · {row['group']}, {row['condition']}"


def chart(rates: pd.DataFrame, *, column: str = "model") -> go.Figure:
    """Dots with 95% intervals, one row per behavior, one color and marker per `column`."""
    figure = go.Figure()
    rates = rates.assign(label=[label(row) for _, row in rates.iterrows()])
    order = list(dict.fromkeys(rates["label"]))[::-1]
    names = [name for name in _colors.MODEL if name in set(rates[column])]
    for position, name in enumerate(names):
        rows = rates[rates[column] == name]
        offset = 0.5 * ((position + 0.5) / len(names) - 0.5)
        figure.add_trace(_dots(rows, [order.index(one) - offset for one in rows["label"]], name))
    figure.update_yaxes(tickvals=list(range(len(order))), ticktext=order, showgrid=False)
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%", title="behavior rate")
    figure.update_layout(
        height=110 + 58 * len(order),
        **_colors.LAYOUT,
    )
    return figure


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


def explain() -> None:
    """What the words on rate charts mean."""
    with st.expander("What these words mean"):
        st.markdown(TERMS)


def _dots(rows: pd.DataFrame, y: list[float], name: str) -> go.Scatter:
    return go.Scatter(
        x=rows["rate"],
        y=y,
        name=name,
        mode="markers",
        marker={"color": _colors.MODEL[name], "symbol": _colors.SYMBOL[name], "size": 11},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["rate"],
            "arrayminus": rows["rate"] - rows["low"],
            "thickness": 2,
            "width": 5,
        },
        customdata=rows[["low", "high", "n"]],
        hovertemplate="%{x:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}], "
        f"n = %{{customdata[2]:,}}<extra>{name}</extra>",
    )
