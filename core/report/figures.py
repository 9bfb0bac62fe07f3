"""Charts of behavior rates, the same in the app and in reports: one color per arm.

Colors are from Okabe and Ito's palette, which every kind of color vision distinguishes; markers
differ too, so that color is never the only cue. Intervals are 95%. A small dot is one retraining;
a large marker or a bar is a mean. Knows nothing of where rates come from.
"""

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.specs.behaviors import SCORE_NAMES
from core.specs.steps import RankSpec
from core.stats import LEAST_SEEDS, seed_rate_interval

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
LAYOUT = {
    "margin": {"l": 10, "r": 10, "t": 30, "b": 40},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
}
RATE_AXIS = {"range": [-0.02, 1.02], "tickformat": ".0%", "title": "behavior rate"}
LETTERS = 56  # of a behavior's name in one line; a longer one would leave no room for dots
DECADES_A_LETTER = 0.07  # of the scoreboard's axis on a small laptop; less on a wider page
ROOM = 0.3  # decades left of the cheapest method
MARKER = 0.06  # decades from a marker's middle to its label
LETTER = 0.055  # of average precision, the height of a label
DEFAULT_METHOD = SCORE_NAMES[RankSpec.model_fields["method"].default]
OUTLINE = {"width": 1, "color": "rgba(128,128,128,.9)"}


def plain(text: str) -> str:
    """Text of a project or of data, safe in a chart: Plotly interprets tags."""
    return text.replace("<", "‹").replace("&", "＆")


def rates_in_words(rates: pd.DataFrame, *, column: str = "arm") -> str:
    """The mean rate of each model by behavior, as a chart's text alternative."""
    means = rates.groupby(["behavior", column], sort=False)["rate"].mean().dropna().reset_index()
    behaviors = [
        f"{behavior}: "
        + ", ".join(f"{n} {rate:.1%}" for n, rate in zip(rows[column], rows["rate"], strict=True))
        for behavior, rows in means.groupby("behavior", sort=False)
    ]
    return f"Behavior rates. {'; '.join(behaviors)}."


def rates_chart(rates: pd.DataFrame, *, column: str = "arm") -> go.Figure:
    """One row per behavior, one dot per model; has behavior, `column`, rate, low, high, n."""
    order = list(dict.fromkeys(rates["behavior"]))[::-1]
    names = [name for name in COLORS if name in set(rates[column])]
    figure = go.Figure()
    for position, name in enumerate(names):
        rows = rates[rates[column] == name]
        offset = 0.5 * ((position + 0.5) / len(names) - 0.5)
        places = [order.index(behavior) - offset for behavior in rows["behavior"]]
        figure.add_trace(_dots(rows, places, name, size=11))
    return _by_behavior(figure, order, height=58)


def seeds_chart(measured: pd.DataFrame, behaviors: Sequence[str]) -> go.Figure:
    """Per behavior one line per arm: every seed as a dot with its interval, the mean large."""
    order = list(behaviors)[::-1]
    arms = [arm for arm in COLORS if arm in set(measured["arm"])]
    figure = go.Figure()
    for position, arm in enumerate(arms):
        offset = 0.7 * ((position + 0.5) / len(arms) - 0.5)
        rows = measured[(measured["arm"] == arm) & measured["behavior"].isin(order)]
        places = [order.index(name) - offset for name in rows["behavior"]]
        several = bool(rows["seed"].notna().any())
        figure.add_trace(_dots(rows, places, arm, size=5 if several else 11, legend=not several))
        if several:
            means = rows.groupby("behavior")["rate"].mean()
            heights = [order.index(str(name)) - offset for name in means.index]
            name = f"{arm}, mean of seeds" if rows["seed"].nunique() > 1 else arm
            figure.add_trace(_means(means, heights, arm, name))
    return _by_behavior(figure, order, height=72)


def dose_chart(doses: pd.DataFrame) -> go.Figure:
    """Rate against the number of pairs: has arm, k, rate, seed; lines join means over seeds.

    Three seeds or more have a 95% interval at their mean.
    """
    figure = go.Figure()
    for arm in (arm for arm in COLORS if arm in set(doses["arm"])):
        rows = doses[doses["arm"] == arm]
        means = pd.DataFrame({k: _over_seeds(group["rate"]) for k, group in rows.groupby("k")}).T
        figure.add_trace(
            go.Scatter(
                x=means.index,
                y=means["rate"],
                error_y=_interval(means),
                name=arm,
                legendgroup=arm,
                mode="lines+markers",
                line={"color": COLORS[arm]},
                marker={"symbol": SYMBOLS[arm], "size": 11, "line": OUTLINE},
                cliponaxis=False,
                hovertemplate=f"%{{x:,}} pairs: mean %{{y:.1%}}<extra>{arm}</extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=rows["k"],
                y=rows["rate"],
                legendgroup=arm,
                showlegend=False,
                mode="markers",
                marker={"color": COLORS[arm], "size": 5},
                hoverinfo="skip",
            )
        )
    figure.update_xaxes(title="pairs that the edit takes from the top of the ranking")
    figure.update_yaxes(rangemode="tozero", tickformat=".0%", title="behavior rate")
    return figure.update_layout(height=330, **LAYOUT)


def agreement_chart(table: pd.DataFrame) -> go.Figure:
    """Measured against predicted change, a dot per retraining, with the line of equality."""
    points = 100 * table[["predicted change", "measured change"]]
    low, high = min(0.0, points.min().min()), max(0.0, points.max().max())
    figure = go.Figure()
    for arm in (arm for arm in COLORS if arm in set(table["arm"])):
        of_arm = table["arm"] == arm
        figure.add_trace(
            go.Scatter(
                x=points.loc[of_arm, "predicted change"],
                y=points.loc[of_arm, "measured change"],
                name=arm,
                mode="markers",
                marker={"color": COLORS[arm], "symbol": SYMBOLS[arm], "size": 10, "line": OUTLINE},
                customdata=table.loc[of_arm, ["behavior", "seed"]].astype(str).map(plain),
                hovertemplate="%{customdata[0]}, seed %{customdata[1]}: predicted %{x:+.1f}, "
                f"measured %{{y:+.1f}} points<extra>{arm}</extra>",
            )
        )
    equal = {"color": COLORS["reference"], "dash": "dash", "width": 1}
    figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=equal)
    figure.update_xaxes(title="predicted change, points")
    figure.update_yaxes(title="measured change, points")
    return figure.update_layout(height=380, **LAYOUT)


def weights_chart(table: pd.DataFrame) -> go.Figure:
    """Pairs by score (`low, high, pairs, weights`), and how many are left of them by weight."""
    figure = go.Figure()
    middle, width = (table["low"] + table["high"]) / 2, table["high"] - table["low"]
    for name, column in (("pairs", "pairs"), ("left of them, by weight", "weights")):
        color = "rgba(128,128,128,.35)" if column == "pairs" else COLORS["edited"]
        figure.add_bar(x=middle, y=table[column], width=width, name=name, marker_color=color,
                       hovertemplate="%{y:.1f}<extra></extra>")  # fmt: skip
    figure.update_xaxes(title="score")
    figure.update_yaxes(title="pairs")
    return figure.update_layout(height=230, barmode="overlay", **LAYOUT)


def place_labels(table: pd.DataFrame) -> pd.DataFrame:
    """The scoreboard's methods, with `label` and `side` where there is room for the name.

    The default comes first, then the better method. Positions are decades of `cpu_seconds` across,
    average precision (`mean`) up. A label covers neither another label nor another method's marker.
    """
    markers = np.column_stack([np.log10(table["cpu_seconds"].to_numpy(float)), table["mean"]])
    labels = pd.DataFrame({"label": "", "side": "middle right"}, index=table.index)
    boxes: list[tuple[np.ndarray, np.ndarray]] = []  # lower left and upper right corners
    for row in np.lexsort([-table["mean"], table["method"].ne(DEFAULT_METHOD)]):
        name = str(table["method"].iloc[row])
        for side, sign in (("middle right", 1), ("middle left", -1)):
            near = markers[row, 0] + sign * MARKER
            across = sorted([near, near + sign * DECADES_A_LETTER * len(name)])
            low, high = np.column_stack([across, markers[row, 1] + LETTER / 2 * np.array([-1, 1])])
            covers = ((markers > low) & (markers < high)).all(axis=1).any()
            meets = any((low < other[1]).all() and (other[0] < high).all() for other in boxes)
            if low[0] >= markers[:, 0].min() - ROOM and not covers and not meets:
                boxes.append((low, high))
                labels.iloc[row] = (name, side)
                break
    return table.assign(**labels)


def _by_behavior(figure: go.Figure, order: Sequence[str], *, height: int) -> go.Figure:
    lines = [
        "<br>".join(wrap(plain(name), LETTERS, max_lines=4, placeholder=" …")) for name in order
    ]
    figure.update_yaxes(tickvals=list(range(len(order))), ticktext=lines, showgrid=False)
    figure.update_xaxes(**RATE_AXIS)
    return figure.update_layout(height=110 + height * len(order), **LAYOUT)


def _dots(
    rows: pd.DataFrame, places: Sequence[float], name: str, *, size: int, legend: bool = True
) -> go.Scatter:
    seeds = rows["seed"].astype(str) if "seed" in rows else [""] * len(rows)
    return go.Scatter(
        x=rows["rate"],
        y=list(places),
        name=name,
        legendgroup=name,
        mode="markers",
        marker={"color": COLORS[name], "symbol": SYMBOLS[name] if legend else "circle"}
        | {"size": size},
        error_x=_interval(rows),
        customdata=rows[["low", "high", "n"]].assign(seed=seeds),
        hovertemplate="%{x:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}], "
        f"n = %{{customdata[2]:,}}<extra>{name}</extra>",
        showlegend=legend,
    )


def _means(means: pd.Series, places: Sequence[float], arm: str, name: str) -> go.Scatter:
    return go.Scatter(
        x=means,
        y=list(places),
        name=name,
        legendgroup=arm,
        mode="markers",
        marker={"color": COLORS[arm], "symbol": SYMBOLS[arm], "size": 13, "line": OUTLINE},
        hovertemplate=f"mean %{{x:.1%}}<extra>{arm}</extra>",
    )


def _over_seeds(rates: pd.Series) -> dict[str, float]:
    """`rate, low, high`, within [0, 1]; without an interval for one or two seeds."""
    if len(rates) < LEAST_SEEDS:
        return dict.fromkeys(("rate", "low", "high"), float(rates.mean()))
    mean, low, high, _ = seed_rate_interval(list(rates))
    return {"rate": mean, "low": low, "high": high}


def _interval(rows: pd.DataFrame) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": rows["high"] - rows["rate"],
        "arrayminus": rows["rate"] - rows["low"],
        "thickness": 1.5,
        "width": 4,
    }
