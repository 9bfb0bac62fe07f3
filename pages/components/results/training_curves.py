"""Training as it happens, every arm, from the trainer's own log: what it learns, what it costs."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.components import cache, jobs, theme

SHOWN = {
    "loss": "DPO loss (starts at ln 2 ≈ 0.693)",
    "margin": "margin: chosen over rejected",
    "accuracy": "share of pairs ordered right",
}
MACHINE = {
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens per second",
    "memory_bytes": "peak memory, bytes",
}


def show(trainings: Mapping[str, tuple[str, int]]) -> None:
    """Curves of train runs, given as run → (arm, seed); live while one of them runs."""
    if not trainings:
        st.info("No training was started for this edit.")
        return
    states = _states(trainings)
    live = any(state in jobs.ACTIVE for state in states)
    st.fragment(_drawn, run_every=2 * jobs.POLL_SECONDS if live else None)(dict(trainings), states)


def _drawn(trainings: dict[str, tuple[str, int]], seen: list[str]) -> None:
    if _states(trainings) != seen:
        st.rerun()
    logs = {run: cache.training_log(run) for run in trainings}
    _row(logs, trainings, SHOWN)
    with st.expander("Learning rate, speed and memory"):
        _row(logs, trainings, MACHINE)
    for run, (arm, seed) in trainings.items():
        info = cache.store().info(run)
        if info.state != "finished":
            st.text(f"{arm}, seed {seed}: {jobs.describe(info)}")
            if info.error:
                st.code(info.error, language=None, wrap_lines=True)


def _row(
    logs: Mapping[str, pd.DataFrame],
    trainings: Mapping[str, tuple[str, int]],
    shown: Mapping[str, str],
) -> None:
    """One small chart per column of the log."""
    for column, (name, title) in zip(st.columns(len(shown)), shown.items(), strict=True):
        column.caption(title)
        column.plotly_chart(_figure(logs, trainings, name), key=f"curve-{name}")


def _figure(
    logs: Mapping[str, pd.DataFrame],
    trainings: Mapping[str, tuple[str, int]],
    name: str,
) -> go.Figure:
    figure = go.Figure()
    named: set[str] = set()
    for run, log in logs.items():
        arm, seed = trainings[run]
        if name not in log:
            continue
        figure.add_trace(
            go.Scatter(
                x=log["step"],
                y=log[name],
                name=arm,
                legendgroup=arm,
                showlegend=arm not in named,
                mode="lines",
                line={"color": theme.MODEL[arm], "dash": theme.DASH[arm]},
                hovertemplate=f"%{{y:.4~g}} at step %{{x}}<extra>{arm}, seed {seed}</extra>",
            )
        )
        named.add(arm)
    figure.update_xaxes(title="optimizer step")
    figure.update_layout(height=260, **theme.LAYOUT)
    return figure


def _states(trainings: Mapping[str, tuple[str, int]]) -> list[str]:
    return [cache.store().state(run) for run in trainings]
