"""The runs of an intervention's arms: their cost beforehand, their progress, their cancellation."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
import streamlit as st

from core.intervention.arms import Arm
from core.intervention.evaluation.edit_sizes import total_k
from core.runs.jobs import Forecast, forecast, time_left
from core.runs.store import RunInfo
from pages.components import cache, jobs

STARTABLE = ("absent", "failed", "cancelled")


def cost(arms: Sequence[Arm]) -> str:
    """What is still to do and how long it will take."""
    store = cache.store()
    missing = [s for arm in arms for s in arm.specs() if store.state(store.run_id(s)) != "finished"]
    steps = [spec.step for spec in missing if spec.step != "edit"]
    if not steps:
        return "All of it is done."
    counts = " + ".join(f"{steps.count(step)} × {step}" for step in dict.fromkeys(steps))
    left = jobs.in_words(forecast(steps, jobs.seconds()))
    return f"Still to do: {counts}, one after the other: {left}."


def time(arms: Sequence[Arm]) -> str:
    """How long what is still to do will take, in a few words."""
    store = cache.store()
    steps = [
        s.step for arm in arms for s in arm.specs() if store.state(store.run_id(s)) != "finished"
    ]
    return in_words(forecast(steps, jobs.seconds()).seconds)


def in_words(seconds: float) -> str:
    """A duration in seconds, or in minutes."""
    return jobs.in_words(Forecast(seconds, ())).removeprefix("about ")


def watch(arms: Sequence[Arm]) -> None:
    """A table of all runs that is kept up to date, and the log of those that run or failed."""
    names = {run: name for arm in arms for run, name in _names(arm)}
    jobs.follow(list(names), lambda: _show_runs(names))


def _show_runs(names: Mapping[str, str]) -> None:
    store = cache.store()
    infos = [store.info(run) for run in names]
    active = [info for info in infos if info.state in jobs.ACTIVE]
    states = [info.state for info in infos]
    others = ("running", "waiting", "failed", "cancelled")
    counts = [f"{states.count(state)} {state}" for state in others if state in states]
    done = states.count("finished")
    text = ", ".join([f"{done} of {len(infos)} runs finished", *counts])
    if active:
        text += f". Left: {jobs.in_words(time_left(active, jobs.seconds()))}."
    st.progress(done / len(infos), text=text)
    table = pd.DataFrame([_row(info, names[info.id]) for info in infos])
    st.dataframe(table, hide_index=True, height="content")
    if active and st.button("Cancel all", key="cancel-all"):
        jobs.stop([info.id for info in active])
    for info in infos:
        if info.state == "failed":
            st.error(f"{names[info.id]} failed.")
            st.code(info.error, language=None)
    for info in infos:
        if info.state in ("running", "failed"):
            with st.expander(f"{names[info.id]}: log"):
                if info.state == "running" and st.button("Cancel this run", key=f"c-{info.id}"):
                    jobs.stop([info.id])
                st.code(store.log(info.id) or "nothing yet", language=None, wrap_lines=True)


def _row(info: RunInfo, name: str) -> dict[str, object]:
    finished = info.state == "finished"
    cost = cache.store().record(info.id).get("cost", {}) if finished else {}
    return {
        "run of": name,
        "state": "not started" if info.state == "absent" else info.state,
        "done": f"{info.done:,} of {info.total:,}" if info.total and not finished else "",
        "seconds": f"{info.seconds:.0f}" if info.seconds else "",
        "CPU-seconds": f"{cost['cpu_seconds']:.0f}" if cost else "",
        "note": info.note,
        "run": info.id,
    }


def _names(arm: Arm) -> Iterator[tuple[str, str]]:
    """Every run of an arm with its name, a seed's training before its evaluation."""
    store = cache.store()
    size = total_k(arm.edit.edits) if arm.edit else 0
    name = f"{arm.name}, top {size:,}" if size else arm.name
    if arm.edit:
        yield store.run_id(arm.edit), f"{name} · edit"
    for training, evaluation in zip(arm.trainings, arm.evaluations, strict=True):
        yield store.run_id(training), f"{name} · train, seed {training.seed}"
        yield store.run_id(evaluation), f"{name} · evaluate, seed {training.seed}"
