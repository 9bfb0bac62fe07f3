"""Training curves of every arm, live, from the trainer's log: loss, margin, accuracy, speed."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.components import cache, jobs, theme

LEARNING = {
    "loss": "DPO loss (starts at ln 2 ≈ 0.693)",
    "margin": "margin: chosen over rejected",
    "accuracy": "share of pairs ordered right",
}
MACHINE = {
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens per second",
    "memory_bytes": "peak memory, bytes",
}
Trainings = Mapping[str, tuple[str, int]]  # train run → arm, seed


def show(trainings: Trainings) -> None:
    """Curves of train runs, kept up to date while one of them runs."""
    if not trainings:
        st.info("No training was started for this edit.")
        return
    jobs.follow(list(trainings), lambda: _draw(trainings), every=2 * jobs.POLL_SECONDS)


def _draw(trainings: Trainings) -> None:
    logs = {run: cache.training_log(run) for run in trainings}
    _show_row(logs, trainings, LEARNING)
    with st.expander("Learning rate, speed and memory"):
        _show_row(logs, trainings, MACHINE)
    for run, (arm, seed) in trainings.items():
        info = cache.store().info(run)
        if info.state != "finished":
            st.text(f"{arm}, seed {seed}: {jobs.describe(info)}")
            if info.error:
                st.code(info.error, language=None, wrap_lines=True)


def _show_row(
    logs: Mapping[str, pd.DataFrame], trainings: Trainings, titles: Mapping[str, str]
) -> None:
    """One small chart per column of the log."""
    for place, (column, title) in zip(st.columns(len(titles)), titles.items(), strict=True):
        place.caption(title)
        place.plotly_chart(_figure(logs, trainings, column), key=f"curve-{column}")


def _figure(logs: Mapping[str, pd.DataFrame], trainings: Trainings, column: str) -> go.Figure:
    figure = go.Figure()
    in_legend: set[str] = set()
    for run, log in logs.items():
        arm, seed = trainings[run]
        if column not in log:
            continue
        figure.add_scatter(
            x=log["step"],
            y=log[column],
            name=arm,
            legendgroup=arm,
            showlegend=arm not in in_legend,
            mode="lines",
            line={"color": theme.MODEL[arm], "dash": theme.DASH[arm]},
            hovertemplate=f"%{{y:.4~g}} at step %{{x}}<extra>{arm}, seed {seed}</extra>",
        )
        in_legend.add(arm)
    figure.update_xaxes(title="optimizer step")
    return figure.update_layout(height=260, **theme.LAYOUT)
