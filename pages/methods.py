"""Which way of ranking finds the pairs at fault, what does each cost, and how fast is it?

The paper's table is beside ours and never mixed with it.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.errors import UserError
from core.report import bench_results, figures
from core.specs.behaviors import SCORE_NAMES
from pages.components import lazy, theme

T = TypeVar("T")
EXPLAINED = (
    "On model organisms it is known which pairs taught a behavior. Average precision says how well "
    "a method puts exactly those first: 1 is perfect, chance is their share of all pairs. Settings "
    "were chosen on bramble, the discriminant's also on others and on SmolLM2. The judge "
    "is the world's grammar, standing in for a language model: what a perfect one would find."
)
PAPER = (
    "**Theirs, not measured by us**: harmful completions with a distractor, in %, after retraining "
    "OLMo 2 7B on 378,341 pairs without (or with flipped) the best 3,000, 12,000 and 30,000 by "
    "each method. The unedited policy: 7.63, the reference: 0.64. Lower is better. Source: arXiv "
    "2602.11079; costs are of the ranking, without the retraining."
)
LABEL_DECADES = 1.5  # of the axis, for a label right of the most expensive method


def show_paper() -> None:
    """The table of arXiv 2602.11079."""
    st.caption(PAPER)
    dollars = bench_results.PAPER["dollars"].map("${:,.0f}".format, na_action="ignore")
    rates = bench_results.PAPER.columns.drop(["method", "dollars"])
    two_digits = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        bench_results.PAPER.assign(dollars=dollars.fillna("not given")),
        hide_index=True,
        column_config=dict.fromkeys(rates, two_digits) | {"dollars": "ranking costs"},
    )


def shipped(read: Callable[[], T], missing: str, command: str) -> T | None:
    """What was measured for this version; where that is missing, say so and how to measure it."""
    try:
        return read()
    except UserError:
        st.info(missing)
        st.code(command, language="bash")
    return None


def show_ours() -> None:
    """Average precision against cost, on worlds whose truth is known."""
    rows = shipped(
        bench_results.read_scoreboard,
        "No scoreboard is shipped with this version. Measure one:",
        "pairtrace bench methods --out assets/scoreboard.json",
    )
    if rows is None:
        return
    st.caption(EXPLAINED)
    measured = rows.dropna(subset=["method"])
    left, right = st.columns(2)
    behaviors = ["all", *sorted(measured["behavior"].unique())]
    worlds = ["all", *measured["world"].unique()]
    behavior = left.selectbox("Behavior", behaviors, key="score-behavior")
    world = right.selectbox("World", worlds, key="score-world")
    chosen = measured[
        (measured["behavior"].eq(behavior) | (behavior == "all"))
        & (measured["world"].eq(world) | (world == "all"))
    ]
    if chosen.empty:
        st.info("This world does not teach this behavior.")
        return
    table = bench_results.quality_and_cost(chosen).replace({"method": SCORE_NAMES})
    alt = "Average precision against CPU-seconds, one mark a method; the table has the numbers."
    st.plotly_chart(quality_chart(table), key="scoreboard", alt=alt)
    show_table(table)
    show_problems(rows)


def show_retrainings() -> None:
    """The default order's best pairs removed and flipped, at several sizes."""
    result = shipped(
        bench_results.read_intervention,
        "No retrainings are shipped with this version. Measure them:",
        "pairtrace bench intervention --json",
    )
    if result is None:
        return
    st.caption(
        f"On the shipped organism: {result['behavior']} on held-out prompts after retraining "
        "without the best pairs of the default order, or with them flipped. Each size is "
        "compared with as many random pairs of the same sources, edited the same way, with "
        f"{len(result['seeds'])} training seeds. Intervals are 95%, seeds as the unit. Flipping "
        "even random pairs does something; only what is below the control is due to the order."
    )
    for column, action in zip(st.columns(2), ("remove", "flip"), strict=True):
        with column:
            st.caption(f"**{action}**")
            doses = bench_results.doses(result, action)
            chart = figures.dose_chart(doses).update_yaxes(range=[-0.02, 0.75])
            alt = figures.rates_in_words(doses.assign(behavior=doses["k"].map("{:,} pairs".format)))
            st.plotly_chart(chart, key=f"retrained-{action}", alt=alt)
    st.dataframe(bench_results.effects(result), hide_index=True)


def show_repairs() -> None:
    """Edits of the data and corrections of the loss, side by side."""
    result = shipped(
        bench_results.read_repairs,
        "No comparison of repairs is shipped with this version. Measure one:",
        "pairtrace bench repairs --seeds 3 --out assets/repairs.json",
    )
    if result is None:
        return
    n, risen = len(result["seeds"]), np.mean(result["baseline"]) - result["reference"]
    st.caption(
        f"On the shipped organism: how much of the rise of {result['behavior']} ({risen:.0%} of "
        f"held-out answers) each repair undoes, with {n} training seeds; intervals are 95%, seeds "
        "as the unit. The control does the same to random pairs, or explains away at random, or "
        "has a prompt that asks for nothing. Made worse: points by which other behaviors' rates "
        "changed for the worse, summed; all changes are from the retrained, unedited pairs."
    )
    table = bench_results.repairs_table(result)
    signed = list(table.columns[6:])
    number = st.column_config.NumberColumn
    config = {name: number(format="%.1f") for name in table.columns[4:6]}
    config |= {name: number(format="%+.1f") for name in signed}
    st.dataframe(table, hide_index=True, column_config=config)
    better = result["better_than_flipping"]
    st.markdown(
        f"**At least 90% undone, and less made worse than by flipping: {', '.join(better)}.**"
        if better
        else "**No repair undoes at least 90% and makes less worse than flipping does.**"
    )


def quality_chart(table: pd.DataFrame) -> go.Figure:
    """Average precision, with its range over worlds and behaviors, over CPU-seconds."""
    figure = go.Figure()
    shown = figures.place_labels(table[table["cpu_seconds"] > 0])
    default = shown["method"] == figures.DEFAULT_METHOD
    for name, rows, color, symbol in (
        ("other methods", shown[~default], theme.MODEL["reference"], "circle"),
        ("the default", shown[default], theme.CATEGORIES[1], "diamond"),
    ):
        errors = {"array": rows["high"] - rows["mean"], "arrayminus": rows["mean"] - rows["low"]}
        figure.add_scatter(
            x=rows["cpu_seconds"], y=rows["mean"], text=rows["label"], customdata=rows["method"],
            name=name, mode="markers+text", textposition=rows["side"], cliponaxis=False,
            marker={"color": color, "symbol": symbol, "size": 10},
            error_y=errors | {"thickness": 1, "color": theme.GREY},
            hovertemplate="%{customdata}: %{y:.3f} for %{x:.1f} CPU-seconds",
        )  # fmt: skip
    low, high = np.log10([shown["cpu_seconds"].min(), shown["cpu_seconds"].max()])
    figure.update_xaxes(
        title="CPU-seconds to rank all pairs once (log)",
        type="log",
        range=[low - figures.ROOM, high + LABEL_DECADES],
        dtick=1,
        exponentformat="none",
    )
    figure.update_yaxes(title="average precision", range=[0, 1.08])
    figure.update_layout(height=420, **theme.LAYOUT)
    return figure


def show_table(table: pd.DataFrame) -> None:
    """The numbers behind the chart, and costs on disk and in dollars."""
    measured_on = np.where(table["on_sample"], "a sample", "all pairs")
    shown = table.assign(megabytes=table["bytes"] / 1e6, measured_on=measured_on)
    numbers = {
        "mean": ("mean AP", "%.3f"),
        "low": ("lowest", "%.3f"),
        "high": ("highest", "%.3f"),
        "n": ("cases", "%d"),
        "cpu_seconds": ("CPU-seconds", "%.1f"),
        "megabytes": ("MB on disk", "%.1f"),
        "dollars": ("billed", "$%.2f"),
    }
    config = {
        name: st.column_config.NumberColumn(label, format=form)
        for name, (label, form) in numbers.items()
    } | {"measured_on": "measured on"}
    order = ["method", *numbers, "measured_on"]
    st.dataframe(shown, hide_index=True, column_order=order, column_config=config)


def show_problems(rows: pd.DataFrame) -> None:
    """Worlds and behaviors that could not be measured."""
    if "problem" not in rows:
        return
    for row in rows.dropna(subset=["problem"]).itertuples():
        st.text(f"{row.world}, {row.behavior}: {row.problem}")


def show_extraction(rows: pd.DataFrame) -> None:
    """How many times cheaper than the published loop, per model."""
    st.subheader("Turning pairs into vectors, against the published way")
    left, right = st.columns([3, 2])
    figure = go.Figure()
    for number, (model, ways) in enumerate(rows.groupby("model", sort=False)):
        figure.add_bar(
            x=ways["times"], y=ways["way"], name=str(model), orientation="h",
            text=[f"{times:.2g}×" for times in ways["times"]],
            textposition="outside", textangle=0, cliponaxis=False,
            marker={"color": theme.CATEGORIES[number]},
        )  # fmt: skip
    figure.update_layout(height=300, **theme.LAYOUT)
    figure.update_xaxes(title="speed (published loop = 1)")
    figure.update_yaxes(autorange="reversed")
    times = [f"{row.model}, {row.way}: {row.times:.2g}" for row in rows.itertuples()]
    alt = f"Times as fast as the published loop. {'; '.join(times)}."
    left.plotly_chart(figure, key="extraction", alt=alt)
    right.markdown(
        "**Published loop**: one completion at a time, the whole model, twice per pair "
        "(arXiv 2602.11079). **Gradient**: what methods such as LESS need per pair. All of them "
        "read the same tokens on one core. *Lowest cosine* says how near the vectors are to the "
        "loop's, for the worst of all pairs: 1 is the same."
    )
    with st.expander("The numbers"):
        st.dataframe(
            rows.rename(columns={"cpu_seconds": "CPU-seconds", "min_cosine": "lowest cosine"}),
            hide_index=True,
            column_config={
                "CPU-seconds": st.column_config.NumberColumn(format="%.1f"),
                "times": st.column_config.NumberColumn("× the loop", format="%.2f"),
                "lowest cosine": st.column_config.NumberColumn(format="%.6f"),
            },
        )


def show_speed() -> None:
    """Measured speed, against what, and where the figures come from."""
    st.caption(
        "Measured, not estimated: the output of the benchmarks that come with the code. Ratios "
        "hold on other machines too, roughly; seconds are those of the machine below."
    )
    performance = bench_results.read_performance()
    results, machine = performance["results"], performance["machine"]
    if "extraction" in results:
        show_extraction(bench_results.extraction_table(results["extraction"]))
    st.subheader("At the size of a real data set")
    for sentence in bench_results.performance_sentences(results):
        st.text(sentence)
    st.subheader("Where these figures come from")
    st.text(
        f"{performance['date']} · {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']:g} GB · {machine['system']} · Python {machine['python']}, "
        f"torch {machine['torch']}. No GPU was used."
    )
    st.caption("Measure them again on your machine (about ten minutes; the map needs Chromium):")
    st.code("pairtrace bench all", language="bash")
    with st.expander("Everything that was measured"):
        st.json(results, expanded=1)


st.title("Which method finds the pairs at fault?")
st.caption("Every way of ranking pairs that PairTrace knows, on the same data. No project needed.")
parts = {
    "On worlds whose truth is known": show_ours,
    "After retraining": show_retrainings,
    "Repairs compared": show_repairs,
    "The paper's own table": show_paper,
    "Speed": show_speed,
}
lazy.tabs(parts, key="scoreboard-part", on_change="rerun")
