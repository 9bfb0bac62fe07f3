"""Runs on a page: start, watch, stop and retry them, and the command that does the same.

Pages poll only while something runs, in one fragment per run; when the state of the run changes
the whole page is drawn again. A bar above every page says what runs, and the title of the
browser's tab how far it is, and that it ended.
"""

import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta

import pandas as pd
import streamlit as st

from core.errors import UserError
from core.runs import commands, jobs
from core.runs.jobs import Forecast
from core.runs.store import RunInfo
from core.specs.base import Spec
from core.specs.project import Project
from core.workspace import estimates
from pages.components import cache, text

ACTIVE = ("waiting", "running")
STARTABLE = ("absent", "failed", "cancelled")
POLL_SECONDS = 1.0
BRIEFLY = 0.8  # seconds that a click waits for a brief run
BATCH, ENDED = "jobs-batch", "jobs-ended"  # of the session: runs since the last rest; what ended


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


def show_bar(title: str) -> None:
    """What runs, above a page whose tab has this title; then that it ended, until one goes on."""
    active = _active()
    if active:
        batch = [*st.session_state.get(BATCH, []), *(info.id for info in active)]
        st.session_state[BATCH] = list(dict.fromkeys(batch))
        st.session_state.pop(ENDED, None)
        st.fragment(_bar, run_every=2 * POLL_SECONDS)(active, title)
        return
    if BATCH in st.session_state:
        st.session_state[ENDED] = (title, st.session_state.pop(BATCH))
    where, batch = st.session_state.get(ENDED, ("", []))
    if where == title:
        _show_ended([cache.store().info(run) for run in batch], title)
    else:
        st.session_state.pop(ENDED, None)


def seconds() -> dict[str, float]:
    """How long each step takes: by what it took here, else by the estimate that Set up shows."""
    store = cache.store()
    return _estimated(str(store.workspace), cache.project()) | jobs.typical_seconds(store)


def in_words(expected: Forecast) -> str:
    """A forecast in seconds, or in minutes; what it leaves out."""
    seconds, unknown = expected
    if unknown and not seconds:
        return f"unknown: no {unknown[0]} ran here yet"
    time = f"about {seconds / 60:.0f} min" if seconds > 90 else f"about {seconds:.0f} s"
    return f"{time} and {unknown[0]} runs, of which none ran here yet" if unknown else time


def describe(info: RunInfo) -> str:
    """One line on a run: its state and how far it is."""
    parts: list[str] = [info.state]
    if info.state in ACTIVE and info.total:
        parts.append(f"{info.done:,} of {info.total:,}")
    parts += [f"{info.seconds:.0f} s"] if info.seconds else []
    parts += [f"about {timedelta(seconds=round(info.left))} left"] if info.left else []
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


def _bar(before: list[RunInfo], title: str) -> None:
    active = _active()
    if [(info.id, info.state) for info in active] != [(info.id, info.state) for info in before]:
        st.rerun()
    infos = [cache.store().info(run) for run in st.session_state.get(BATCH, [])]
    ended = len(infos) - len(active)
    share = (ended + sum(map(_share, active))) / max(len(infos), 1)
    running = [info for info in active if info.state == "running"]
    notes = [f"{info.step} ({info.note})" if info.note else info.step for info in running]
    left = in_words(jobs.time_left(active, seconds()))
    words = (
        f"**{text.escape(', '.join(notes) or active[0].step)}** · {len(running)} running, "
        f"{len(active) - len(running)} waiting, {ended} ended · left: {left}"
    )
    with st.container(horizontal=True, vertical_alignment="center", key="job-bar"):
        st.progress(share, text=words)
        with st.popover("Jobs"):
            _list(infos)
    st.set_page_config(page_title=f"{share:.0%} · {title}")


def _list(infos: Sequence[RunInfo]) -> None:
    """The runs of the bar: state, work done and time worked, which waiting is no part of."""
    rows = [{"run": info.id, "state and progress": describe(info)} for info in infos]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")
    st.caption("They go on when this page, or the app, is closed.")
    if st.button("Stop all", key="stop-all"):
        stop([info.id for info in infos if info.state in ACTIVE])


def _show_ended(infos: Sequence[RunInfo], title: str) -> None:
    failed = [info for info in infos if info.state == "failed"]
    finished = [info for info in infos if info.state == "finished"]
    took = in_words(Forecast(sum(info.seconds for info in infos), ())).removeprefix("about ")
    with st.container(horizontal=True, vertical_alignment="center", key="job-bar"):
        if failed:
            st.error(text.escape(f"{failed[0].step} failed: {failed[0].error}"), icon="⚠️")
        elif len(finished) < len(infos):
            st.info(f"Stopped: {len(finished)} of {len(infos)} runs are finished.")
        else:
            n = "1 run" if len(infos) == 1 else f"{len(infos)} runs"
            st.success(f"Done: {n}, {took} of work.", icon="✅")
        st.button("✕", key="job-bar-out", help="Take this line away", on_click=_forget)
    mark = "✕ failed" if failed else "✓ done" if len(finished) == len(infos) else "■ stopped"
    st.set_page_config(page_title=f"{mark} · {title}")


def _forget() -> None:
    st.session_state.pop(ENDED, None)


@st.cache_data(show_spinner=False, max_entries=8, hash_funcs={Project: Project.model_dump_json})
def _estimated(workspace: str, project: Project) -> dict[str, float]:
    try:
        return estimates.estimated_seconds(cache.store(), project)
    except UserError:  # an input is missing: its step will say so
        return {}


def _active() -> list[RunInfo]:
    return [info for info in cache.store().infos() if info.state in ACTIVE]


def _share(info: RunInfo) -> float:
    return min(info.done / info.total, 1.0) if info.total else 0.0
