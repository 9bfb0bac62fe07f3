"""Which method finds the pairs at fault, where that is known, and what each costs; the paper's own
table beside it, never mixed with ours.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.errors import UserError
from core.report import bench_results, figures
from core.specs.steps import RankSpec
from pages.components import theme

SAID = (
    "On model organisms it is known which pairs taught a behavior. Average precision says how well "
    "a method puts exactly those first: 1 is perfect, chance is their share of all pairs. Settings "
    "were chosen on bramble, the discriminant's also on avon, none on other worlds. The judge "
    "is the world's own grammar standing in for a language model: what a perfect one would find."
)
PAPER = (
    "**Theirs, not measured by us**: harmful completions with a distractor, in %, after retraining "
    "OLMo 2 7B on 378,341 pairs without (or with flipped) the best 3,000, 12,000 and 30,000 by "
    "each method. The unedited policy: 7.63, the reference: 0.64. Lower is better. Source: arXiv "
    "2602.11079; rankings cost what is given, retraining apart."
)
LABEL_DECADES = 1.5  # of the axis, which a label right of the dearest method takes
DECADES_A_LETTER = 0.07  # of the axis on a small laptop; less on a wider page
ROOM = 0.3  # decades left of the cheapest method
MARKER = 0.06  # decades from a marker's middle to its label
LETTER = 0.055  # of average precision, the height of a label
PRESENT = RankSpec.model_fields["method"].default


def show() -> None:
    """Ours as chart and table, theirs as a table; only what is looked at is drawn."""
    parts = st.tabs(
        ["On worlds whose truth is known", "After retraining", "The paper's own table"],
        key="scoreboard-part",
        on_change="rerun",
    )
    for part, draw in zip(parts, (_ours, _retrainings, _theirs), strict=True):
        if part.open:
            with part:
                draw()


def _theirs() -> None:
    st.caption(PAPER)
    known = bench_results.PAPER["dollars"].map("${:,.0f}".format, na_action="ignore")
    rates = bench_results.PAPER.columns.drop(["method", "dollars"])
    two_digits = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        bench_results.PAPER.assign(dollars=known.fillna("not given")),
        hide_index=True,
        column_config=dict.fromkeys(rates, two_digits) | {"dollars": "ranking costs"},
    )


def _ours() -> None:
    try:
        rows = bench_results.read_scoreboard()
    except UserError:
        st.info("No scoreboard is shipped with this version. Measure one:")
        st.code("pairtrace bench methods --out assets/scoreboard.json", language="bash")
        return
    st.caption(SAID)
    known = rows.dropna(subset=["method"])
    left, right = st.columns(2)
    behaviors = ["all", *sorted(known["behavior"].unique())]
    worlds = ["all", *known["world"].unique()]
    behavior = left.selectbox("Behavior", behaviors, key="score-behavior")
    world = right.selectbox("World", worlds, key="score-world")
    chosen = known[
        (known["behavior"].eq(behavior) | (behavior == "all"))
        & (known["world"].eq(world) | (world == "all"))
    ]
    if chosen.empty:
        st.info("This world does not teach this behavior.")
        return
    table = bench_results.quality_and_cost(chosen)
    st.plotly_chart(_figure(table), key="scoreboard")
    _table(table)
    _problems(rows)


def _retrainings() -> None:
    """The default order's best pairs removed and flipped, at several sizes."""
    try:
        result = bench_results.read_intervention()
    except UserError:
        st.info("No retrainings are shipped with this version. Measure them:")
        st.code("pairtrace bench intervention --json", language="bash")
        return
    st.caption(
        f"On the shipped organism: {result['behavior']} on held-out prompts after retraining "
        "without the best pairs of the default order, or with them flipped. Each size stands "
        "beside as many random pairs of the same sources, edited the same way, with "
        f"{len(result['seeds'])} training seeds. Intervals are 95%, seeds as the unit. Flipping "
        "even random pairs does something; only what lies below the control is due to the order."
    )
    for column, action in zip(st.columns(2), ("remove", "flip"), strict=True):
        with column:
            st.caption(f"**{action}**")
            chart = figures.dose_chart(bench_results.doses(result, action))
            st.plotly_chart(chart.update_yaxes(range=[-0.02, 0.75]), key=f"retrained-{action}")
    st.dataframe(bench_results.effects(result), hide_index=True)


def _figure(table: pd.DataFrame) -> go.Figure:
    """Average precision, with its range over worlds and behaviors, over CPU-seconds."""
    figure = go.Figure()
    shown = labelled(table[table["cpu_seconds"] > 0])
    for name, rows, color, symbol in (
        ("other methods", shown[shown["method"] != PRESENT], theme.MODEL["reference"], "circle"),
        ("the default", shown[shown["method"] == PRESENT], theme.CATEGORIES[1], "diamond"),
    ):
        figure.add_trace(
            go.Scatter(
                x=rows["cpu_seconds"],
                y=rows["mean"],
                text=rows["label"],
                customdata=rows["method"],
                name=name,
                mode="markers+text",
                textposition=rows["side"],
                cliponaxis=False,
                marker={"color": color, "symbol": symbol, "size": 10},
                error_y={
                    "array": rows["high"] - rows["mean"],
                    "arrayminus": rows["mean"] - rows["low"],
                    "thickness": 1,
                    "color": theme.GREY,
                },
                hovertemplate="%{customdata}: %{y:.3f} for %{x:.1f} CPU-seconds",
            )
        )
    low, high = np.log10([shown["cpu_seconds"].min(), shown["cpu_seconds"].max()])
    figure.update_xaxes(
        title="CPU-seconds to rank all pairs once (log)",
        type="log",
        range=[low - ROOM, high + LABEL_DECADES],
        dtick=1,
        exponentformat="none",
    )
    figure.update_yaxes(title="average precision", range=[0, 1.08])
    figure.update_layout(height=420, **theme.LAYOUT)
    return figure


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """With a `label` and its `side` where there is room: the default first, then the better method.

    Room is neither another label nor another method's marker.
    """
    x = np.log10(table["cpu_seconds"].to_numpy(float))
    markers = np.column_stack([x, table["mean"]])
    shown = pd.DataFrame({"label": "", "side": "middle right"}, index=table.index)
    taken: list[_Box] = []
    order = np.lexsort([-table["mean"], table["method"].ne(PRESENT)])
    for place in order:
        name = str(table["method"].iloc[place])
        for side, sign in (("middle right", 1), ("middle left", -1)):
            box = _Box.beside(*markers[place], sign * DECADES_A_LETTER * len(name))
            free = box.left >= x.min() - ROOM and not any(map(box.meets, taken))
            if free and not box.holds(markers).any():
                taken.append(box)
                shown.iloc[place] = (name, side)
                break
    return table.assign(**shown)


class _Box(NamedTuple):
    """What a label covers: decades of CPU-seconds across, average precision up."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def beside(cls, x: float, y: float, width: float) -> "_Box":
        """Of a label beside the marker at x, y; to its left where `width` is below 0."""
        near = x + np.copysign(MARKER, width)
        ends = sorted([near, near + width])
        return cls(*ends, y - LETTER / 2, y + LETTER / 2)

    def meets(self, other: "_Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.low < other.high and other.low < self.high

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the (n, 2) points it covers."""
        low, high = np.array([self.left, self.low]), np.array([self.right, self.high])
        return ((points > low) & (points < high)).all(axis=1)


def _table(table: pd.DataFrame) -> None:
    shown = table.assign(
        megabytes=table["bytes"] / 1e6,
        measured_on=np.where(table["on_sample"], "a sample", "all pairs"),
    )
    numbers = {
        "mean": ("mean AP", "%.3f"),
        "low": ("lowest", "%.3f"),
        "high": ("highest", "%.3f"),
        "n": ("cases", "%d"),
        "cpu_seconds": ("CPU-seconds", "%.1f"),
        "megabytes": ("MB on disk", "%.1f"),
        "dollars": ("billed", "$%.2f"),
    }
    st.dataframe(
        shown,
        hide_index=True,
        column_order=["method", *numbers, "measured_on"],
        column_config={
            name: st.column_config.NumberColumn(label, format=form)
            for name, (label, form) in numbers.items()
        }
        | {"measured_on": "measured on"},
    )


def _problems(rows: pd.DataFrame) -> None:
    if "problem" not in rows:
        return
    for row in rows.dropna(subset=["problem"]).itertuples():
        st.text(f"{row.world}, {row.behavior}: {row.problem}")
