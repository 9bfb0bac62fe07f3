"""The runs of an intervention's arms: their cost beforehand, their progress, their cancellation."""

from collections.abc import Iterator, Sequence

import pandas as pd
import streamlit as st

from core.intervention.arms import Arm
from core.runs import jobs
from core.runs.store import RunInfo
from pages import _jobs, _loaders

STARTABLE = ("absent", "failed", "cancelled")


def cost(arms: Sequence[Arm]) -> str:
    """How long training and measuring will take, from the runs that are finished here."""
    store = _loaders.store()
    said, total, unknown = [], 0.0, []
    for step, n in (
        ("train", sum(len(arm.trainings) for arm in arms)),
        ("evaluate", sum(len(arm.evaluations) for arm in arms)),
    ):
        known = [info.seconds for info in store.infos(step, "finished")]
        if known:
            total += n * sorted(known)[len(known) // 2]
        else:
            unknown.append(step)
        said.append(f"{n} × {step}")
    took = f"{total / 60:.0f} min" if total > 90 else f"{total:.0f} s"
    if unknown:
        return " + ".join(said) + f". How long is not known: no {unknown[0]} ran here yet."
    return " + ".join(said) + f": about {took} in all, by what such runs took here."


def watch(arms: Sequence[Arm]) -> None:
    """A table of all runs that follows them, and the log of what runs or failed."""
    runs = {run: name for arm in arms for run, name in _named(arm)}
    infos = [_loaders.store().info(run) for run in runs]
    live = any(info.state in _jobs.ACTIVE for info in infos)
    every = _jobs.POLL_SECONDS if live else None
    st.fragment(_watched, run_every=every)(runs, _states(infos))


def _watched(runs: dict[str, str], seen: list[str]) -> None:
    store = _loaders.store()
    infos = [store.info(run) for run in runs]
    if _states(infos) != seen:
        st.rerun()
    done = sum(info.state == "finished" for info in infos)
    st.progress(done / len(infos), text=f"{done} of {len(infos)} runs finished")
    st.dataframe(
        pd.DataFrame([_row(info, runs[info.id]) for info in infos]),
        hide_index=True,
        height="content",
    )
    active = [info for info in infos if info.state in _jobs.ACTIVE]
    if active and st.button("Cancel all", key="cancel-all"):
        for info in active:
            jobs.cancel(store, info.id)
        st.rerun()
    for info in infos:
        if info.state == "failed":
            st.error(f"{runs[info.id]} failed.")
            st.code(info.error or "Its process ended without a word.", language=None)
    for info in infos:
        if info.state in ("running", "failed"):
            with st.expander(f"Log of {info.id}"):
                st.code(store.log(info.id) or "nothing yet", language=None, wrap_lines=True)


def _row(info: RunInfo, name: str) -> dict[str, object]:
    return {
        "run of": name,
        "state": info.state,
        "done": f"{info.done:,} of {info.total:,}" if info.total else "",
        "seconds": round(info.seconds),
        "note": info.note,
        "run": info.id,
    }


def _named(arm: Arm) -> Iterator[tuple[str, str]]:
    """Every run of an arm with what it is, a seed's training before its evaluation."""
    store = _loaders.store()
    if arm.edit:
        yield store.run_id(arm.edit), f"{arm.name} · edit"
    for training, evaluation in zip(arm.trainings, arm.evaluations, strict=True):
        yield store.run_id(training), f"{arm.name} · train, seed {training.seed}"
        yield store.run_id(evaluation), f"{arm.name} · evaluate, seed {training.seed}"


def _states(infos: Sequence[RunInfo]) -> list[str]:
    return [info.state for info in infos]
