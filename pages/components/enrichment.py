"""Which sources and which models' completions stand out among selected pairs, and the way to edit
all of one's pairs.
"""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.attribution.enrichment import COLUMNS, STANDS_OUT, origins
from core.specs.recipes import Where
from pages.components import cart, text, theme

NAMES = {"source": "source", "chosen_model": "chosen by", "rejected_model": "rejected by"}
HELP = (
    "source: the dataset a pair comes from · chosen by, rejected by: the model that wrote the "
    "completion that was preferred, or pushed away"
)
WHOLE = 200  # letters of a name under the mouse
LETTERS = 28  # of a name beside its bars
SHOWN = 12  # values in a chart; the most enriched first


def show(pairs: pd.DataFrame, selected: pd.Series, *, key: str) -> None:
    """Shares among the selected and among all pairs, what stands out, and a whole-value edit.

    `selected` holds uids. A value stands out where chance, corrected for how many were looked at,
    explains it with q ≤ 0.05.
    """
    found = origins(pairs, list(selected))
    given = [name for name in COLUMNS if name in set(found["column"])]
    column = st.segmented_control(
        "Where they come from, by",
        given,
        default=given[0],
        required=True,
        format_func=NAMES.get,
        key=f"origin-{key}",
        help=HELP,
    )
    st.text(_said(found))
    mine = found[found["column"] == column].head(SHOWN)
    st.plotly_chart(_bars(mine.iloc[::-1]), key=f"origins-{key}")
    _offer(pairs, str(column), mine, key)


def _said(found: pd.DataFrame) -> str:
    apart = found[(found["q"] <= STANDS_OUT) & (found["enrichment"] > 1)]
    if apart.empty:
        return "No source and no model stands out among the selected pairs beyond chance."
    named = [
        f"{text.visible(row.value)} ({NAMES[row.column]}): {row.share:.0%} of the selected, "
        f"{row.base:.0%} of all"
        for row in apart.head(4).itertuples()
    ]
    rest = len(apart) - len(named)
    return "Stands out: " + "; ".join(named) + (f"; and {rest} more." if rest > 0 else ".")


def _bars(rows: pd.DataFrame) -> go.Figure:
    figure = go.Figure()
    places = list(range(len(rows)))
    names = [theme.label(value, WHOLE) for value in rows["value"]]
    figure.add_trace(
        go.Bar(
            y=places,
            x=rows["base"],
            name="of all pairs",
            orientation="h",
            marker={"color": theme.MODEL["reference"]},
            customdata=names,
            hovertemplate="%{customdata}: %{x:.1%}",
        )
    )
    figure.add_trace(
        go.Bar(
            y=places,
            x=rows["share"],
            name="of the selected, 95%",
            orientation="h",
            marker={"color": theme.CATEGORIES[1]},
            error_x={
                "array": rows["high"] - rows["share"],
                "arrayminus": rows["share"] - rows["low"],
                "color": theme.MODEL["reference"],
            },
            customdata=rows[["enrichment", "q"]].assign(name=names),
            hovertemplate="%{customdata[2]}: %{x:.1%}, × %{customdata[0]:.1f}, "
            "q %{customdata[1]:.2g}",
        )
    )
    figure.update_layout(height=90 + 36 * len(rows), **theme.LAYOUT)
    figure.update_xaxes(title="share of pairs", tickformat=".3~p")
    figure.update_yaxes(tickvals=places, ticktext=[_ends(name) for name in names])
    return figure


def _ends(name: str) -> str:
    """Both ends of a name that would leave the bars no room: names of one kind begin alike."""
    half = LETTERS // 2
    return name if len(name) <= LETTERS else f"{name[:half]}…{name[-half:]}"


def _offer(pairs: pd.DataFrame, column: str, rows: pd.DataFrame, key: str) -> None:
    """All pairs of one value into the cart, whatever they score."""
    with st.popover(f"Edit a whole {'source' if column == 'source' else 'model'} …"):
        value = st.selectbox(
            "All pairs of",
            list(rows["value"]),
            format_func=text.visible,
            key=f"whole-{key}-{column}",
        )
        count = int(pairs[column].astype(str).eq(value).sum())
        recipe = Where(column=column, values=(value,))
        why = f"{NAMES[column]} {value} stands out among the selected"
        cart.offer(recipe, count=count, key=f"whole-{key}", why=why, shortcut=None)
