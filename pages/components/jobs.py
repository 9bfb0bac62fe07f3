"""Runs on a page: start, watch, stop and retry them, and the command that does the same.

Pages poll only while something runs, in one fragment per run; when the state of the run changes
the whole page is drawn again.
"""

import inspect
from collections.abc import Callable, Sequence

import streamlit as st

from core.runs import commands, jobs
from core.runs.store import RunInfo
from core.specs.base import Spec
from pages.components import cache, text

ACTIVE = ("waiting", "running")
STARTABLE = ("absent", "failed", "cancelled")
POLL_SECONDS = 1.0
BRIEFLY = 0.8  # seconds that a click waits for a brief run


def panel(spec: Spec, label: str) -> str | None:
    """The run's id once it is finished; until then, draw how to get there and return None."""
    store = cache.store()
    run = store.run_id(spec)
    state = store.state(run)
    if state == "finished":
        return run
    with st.container(border=True):
        if state == "absent":
            _offer(spec, label, run)
        else:
            watch(run)
    return None


def command(spec: Spec) -> None:
    """The shell command that makes the same run, to copy."""
    show_commands(command_text(spec))


def show_commands(*commands: str) -> None:
    """Shell commands that do the same as this part of the page, to copy."""
    with st.expander("The same from the command line"):
        for line in commands:
            st.code(line, language="bash", wrap_lines=True)


def command_text(spec: Spec) -> str:
    """The shell command of a spec."""
    return commands.command(spec, cache.store())


def watch(run: str) -> None:
    """State, progress, log and controls of a run that was started."""
    follow([run], lambda: _show_run(run))


def follow(runs: Sequence[str], draw: Callable[[], None], *, every: float = POLL_SECONDS) -> None:
    """Draw, again and again while one of the runs is active; the page when a state changes."""
    states = [cache.store().state(run) for run in runs]
    live = any(state in ACTIVE for state in states)
    st.fragment(_followed, run_every=every if live else None)(runs, states, draw)


def show_queue() -> None:
    """What runs and what waits, for the sidebar; draws the page again when that changes."""
    active = _active()
    if active:
        st.fragment(_queue, run_every=2 * POLL_SECONDS)(active)


def describe(info: RunInfo) -> str:
    """One line on a run: its state and how far it is."""
    parts: list[str] = [info.state]
    if info.state in ACTIVE and info.total:
        parts.append(f"{info.done:,} of {info.total:,}")
    parts += [f"{info.seconds:.0f} s"] if info.seconds else []
    return " · ".join([*parts, info.note] if info.note else parts)


def start(*specs: Spec) -> None:
    """Start runs in the background and draw the page again; a run waits for its inputs."""
    runs = [jobs.start(cache.store(), spec) for spec in specs]
    if len(runs) == 1 and specs[0].step in jobs.WARM:
        jobs.finished_within(cache.store(), runs[0], BRIEFLY)  # drawn once, with its result
    st.rerun()


def warm() -> None:
    """Have what explains a pair ready, for when it is asked for."""
    jobs.warm(cache.store())


def stop(runs: Sequence[str]) -> None:
    """Stop runs and draw the page again; they may take some seconds to save what they have."""
    with st.spinner("Stopping. What is done so far is kept …"):
        jobs.cancel_all(cache.store(), runs)
    st.rerun()


def _offer(spec: Spec, label: str, run: str) -> None:
    st.text(inspect.cleandoc(type(spec).__doc__ or "").partition("\n\n")[0])
    if st.button(label, key=f"start-{run}", type="primary"):
        start(spec)
    command(spec)


def _followed(runs: Sequence[str], states: list[str], draw: Callable[[], None]) -> None:
    if [cache.store().state(run) for run in runs] != states:
        st.rerun()
    draw()


def _show_run(run: str) -> None:
    store = cache.store()
    info = store.info(run)
    st.text(f"{run}   {describe(info)}")
    if info.state in ACTIVE:
        st.progress(_share(info))
        if st.button("Cancel", key=f"cancel-{run}"):
            stop([run])
    if info.state == "failed":
        st.error("This run failed.")
        st.code(info.error, language=None, wrap_lines=True)
        st.page_link("setup.py", label="Was an input wrong? Change the project →")
    if info.state in ("failed", "cancelled") and st.button("Try again", key=f"retry-{run}"):
        start(store.spec(run))
    log = store.log(run)
    repeats = log.strip() == f"Error: {info.error}".strip()
    if log and info.state != "finished" and not repeats:
        with st.expander("Log", expanded=info.state == "failed"):
            st.code(log, language=None, wrap_lines=True)
    command(store.spec(run))


def _queue(before: list[RunInfo]) -> None:
    active = _active()
    if [(info.id, info.state) for info in active] != [(info.id, info.state) for info in before]:
        st.rerun()
    running = [info for info in active if info.state == "running"]
    st.caption(f"{len(running)} running, {len(active) - len(running)} waiting")
    for info in running:
        label = f"{info.step} · {info.note}" if info.note else info.step
        st.progress(_share(info), text=text.escape(label))


def _active() -> list[RunInfo]:
    return [info for info in cache.store().infos() if info.state in ACTIVE]


def _share(info: RunInfo) -> float:
    return min(info.done / info.total, 1.0) if info.total else 0.0
