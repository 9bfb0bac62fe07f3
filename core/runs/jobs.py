"""Jobs: runs in background processes, which outlive browser and server.

A job is `pairtrace <step> …` in its own session, writing to its run's folder; its state is read
from that folder (core.runs.store). Jobs that depend on each other may be started together: each
waits for its inputs and its device.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from core.environment import launcher, prepared, refuse_trust
from core.runs.commands import arguments, command
from core.runs.execute import describe
from core.runs.progress import Progress, live_process
from core.runs.store import Store
from core.specs.base import Spec

GRACE_SECONDS = 8.0  # from SIGTERM to SIGKILL; cancel promises ten
NICE = 10  # of long jobs: a tenth of the CPU time of others, where cores are scarce
WORK = ("spawned", "waiting", "started", "progress")  # events of a process that works on the run


def start(store: Store, spec: Spec) -> str:
    """Start the run of `spec` in the background, unless it is finished or under way.

    Returns its id at once. Starting a failed or cancelled run again resumes it. Of several
    simultaneous starts of one run, one has an effect.
    """
    store.require_writable()
    refuse_trust("A job in the background")
    run = store.run_id(spec)
    store.folder(run).mkdir(parents=True, exist_ok=True)
    with _starting(store, run):
        if store.state(run) in ("waiting", "running", "finished"):
            return run
        store.write_record(run, describe(spec, store))
        progress = Progress(store.folder(run) / "progress.jsonl")
        progress.event("queued", command=command(spec, store), who=store.who)
        try:
            process = _spawn(store, spec, run)
        except OSError as error:
            progress.event("failed", error=f"its process could not be started: {error}")
            raise
        progress.event("spawned", pid=process.pid)
    return run


def cancel(store: Store, run: str) -> None:
    """Stop a job: terminate, wait up to eight seconds, then kill. Checkpoints are kept.

    Applies to every process that works on the run or waits for it, except this one.
    """
    store.require_writable()
    if not store.folder(run).is_dir():
        return
    with _starting(store, run):  # a queued run has no process yet
        if store.state(run) not in ("waiting", "running"):
            return
        _stop(_workers(store.events(run), store.folder(run)))
        if store.state(run) != "finished":
            Progress(store.folder(run) / "progress.jsonl").event("cancelled")


def cancel_all(store: Store, runs: Sequence[str]) -> None:
    """Stop several jobs at once, since each may take eight seconds."""
    with ThreadPoolExecutor(len(runs) or 1) as threads:
        list(threads.map(partial(cancel, store), runs))


def _spawn(store: Store, spec: Spec, run: str) -> subprocess.Popen[bytes]:
    launched = launcher() if spec.distributed else []
    with (store.folder(run) / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [
                *(launched or [sys.executable]),
                "-m",
                "core.cli.main",
                *arguments(spec, store),
                "--json",
            ],
            cwd=Path(__file__).parents[2],
            env=prepared(store.workspace),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    if not spec.is_brief():
        _lower_priority(process.pid)
    return process


def _lower_priority(pid: int) -> None:
    """Give a long job the cores that pages, brief jobs and other programs leave.

    Linux schedules sessions before their processes, and every job is its own session.
    """
    with suppress(OSError, psutil.Error):
        psutil.Process(pid).nice(NICE)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICE))


def _starting(store: Store, run: str) -> FileLock:
    """Taken while a run is queued and spawned, and while it is stopped."""
    return FileLock(store.folder(run) / "starting")


def _workers(events: list[dict[str, Any]], folder: Path) -> list[psutil.Process]:
    """The live processes that work on a run: not those that queued or stopped it, nor this one."""
    latest = {event["pid"]: event for event in events if event["event"] in WORK}
    others = [event for pid, event in latest.items() if pid != os.getpid()]
    return [process for event in others if (process := live_process(event, folder)) is not None]


def _stop(workers: list[psutil.Process]) -> None:
    family = list(workers)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            family += worker.children(recursive=True)
            worker.terminate()
    _, alive = psutil.wait_procs(workers, timeout=GRACE_SECONDS)
    for member in family if alive else family[len(workers) :]:
        if member.is_running():
            with suppress(psutil.NoSuchProcess):
                member.kill()
