"""Charts of behavior rates that mean the same everywhere: dots, 95% intervals, one color an arm.

Colors are from Okabe and Ito's palette, which every kind of color vision tells apart; markers
differ too, so that no meaning hangs on color alone.
"""

import pandas as pd
import plotly.graph_objects as go

COLORS = {
    "reference": "#7A8794",
    "policy": "#D55E00",
    "baseline": "#E69F00",
    "random control": "#CC79A7",
    "edited": "#009E73",
}
SYMBOLS = {
    "reference": "circle",
    "policy": "diamond",
    "baseline": "x",
    "random control": "square",
    "edited": "star",
}


def rates_chart(rates: pd.DataFrame) -> go.Figure:
    """One row per behavior, one dot per arm; `rates` has behavior, arm, rate, low, high, n."""
    order = list(dict.fromkeys(rates["behavior"]))[::-1]
    names = [name for name in COLORS if name in set(rates["arm"])]
    figure = go.Figure()
    for position, name in enumerate(names):
        rows = rates[rates["arm"] == name]
        offset = 0.5 * ((position + 0.5) / len(names) - 0.5)
        places = [order.index(behavior) - offset for behavior in rows["behavior"]]
        figure.add_trace(_dots(rows, places, name))
    figure.update_yaxes(tickvals=list(range(len(order))), ticktext=order, showgrid=False)
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%", title="behavior rate")
    figure.update_layout(
        template="plotly_white",
        height=120 + 58 * len(order),
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    return figure


def _dots(rows: pd.DataFrame, places: list[float], name: str) -> go.Scatter:
    return go.Scatter(
        x=rows["rate"],
        y=places,
        name=name,
        mode="markers",
        marker={"color": COLORS[name], "symbol": SYMBOLS[name], "size": 11},
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
