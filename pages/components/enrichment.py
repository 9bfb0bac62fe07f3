"""Enrichment: sources and models that stand out among selected pairs, and an edit of one."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.specs.recipes import Where
from core.stats import ORIGINS, STANDS_OUT, origins
from pages.components import cart, text, theme

NAMES = {"source": "source", "chosen_model": "chosen by", "rejected_model": "rejected by"}
HELP = (
    "source: the dataset a pair comes from · chosen by, rejected by: the model that wrote the "
    "completion that was preferred, or pushed away"
)
HOVER = 200  # letters of a name under the mouse
LETTERS = 28  # of a name beside its bars
VALUES = 12  # in a chart; the most enriched first


def show(pairs: pd.DataFrame, selected: pd.Series, *, key: str) -> None:
    """Shares among the selected and among all pairs, what stands out, and an edit of one value.

    `selected` are uids. A value stands out if chance, corrected for how many values were tested,
    explains it with q ≤ 0.05.
    """
    table = origins(pairs, list(selected))
    columns = [name for name in ORIGINS if name in set(table["column"])]
    column = st.segmented_control(
        "Where they come from, by", columns, default=columns[0], required=True,
        format_func=NAMES.get, key=f"origin-{key}", help=HELP,
    )  # fmt: skip
    words = _in_words(table)
    st.text(words)
    rows = table[table["column"] == column].head(VALUES)
    st.plotly_chart(_bars(rows.iloc[::-1]), key=f"origins-{key}", alt=words)
    _offer(pairs, str(column), rows, key)


def _in_words(table: pd.DataFrame) -> str:
    enriched = table[(table["q"] <= STANDS_OUT) & (table["enrichment"] > 1)]
    if enriched.empty:
        return "No source and no model stands out among the selected pairs beyond chance."
    parts = [
        f"{text.visible(row.value)} ({NAMES[row.column]}): {row.share:.0%} of the selected, "
        f"{row.base:.0%} of all"
        for row in enriched.head(4).itertuples()
    ]
    rest = len(enriched) - len(parts)
    return "Stands out: " + "; ".join(parts) + (f"; and {rest} more." if rest > 0 else ".")


def _bars(rows: pd.DataFrame) -> go.Figure:
    places = list(range(len(rows)))
    names = [theme.label(value, HOVER) for value in rows["value"]]
    figure = go.Figure()
    figure.add_bar(
        y=places, x=rows["base"], name="of all pairs", orientation="h", customdata=names,
        marker={"color": theme.MODEL["reference"]}, hovertemplate="%{customdata}: %{x:.1%}",
    )  # fmt: skip
    figure.add_bar(
        y=places, x=rows["share"], name="of the selected, 95%", orientation="h",
        marker={"color": theme.CATEGORIES[1]},
        error_x={
            "array": rows["high"] - rows["share"],
            "arrayminus": rows["share"] - rows["low"],
            "color": theme.MODEL["reference"],
        },
        customdata=rows[["enrichment", "q"]].assign(name=names),
        hovertemplate="%{customdata[2]}: %{x:.1%}, × %{customdata[0]:.1f}, q %{customdata[1]:.2g}",
    )  # fmt: skip
    figure.update_layout(height=90 + 36 * len(rows), **theme.LAYOUT)
    figure.update_xaxes(title="share of pairs", tickformat=".3~p")
    return figure.update_yaxes(tickvals=places, ticktext=[_ends(name) for name in names])


def _ends(name: str) -> str:
    """Both ends of a name too long to be beside the bars: names of one family begin the same."""
    half = LETTERS // 2
    return name if len(name) <= LETTERS else f"{name[:half]}…{name[-half:]}"


def _offer(pairs: pd.DataFrame, column: str, rows: pd.DataFrame, key: str) -> None:
    """All pairs of one value into the cart, whatever their score."""
    with st.popover(f"Edit a whole {'source' if column == 'source' else 'model'} …"):
        values = list(rows["value"])
        value = st.selectbox(
            "All pairs of", values, format_func=text.visible, key=f"whole-{key}-{column}"
        )
        count = int(pairs[column].astype(str).eq(value).sum())
        recipe = Where(column=column, values=(value,))
        why = f"{NAMES[column]} {value} stands out among the selected"
        cart.offer(recipe, count=count, key=f"whole-{key}", why=why, shortcut=None)
