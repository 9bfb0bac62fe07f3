"""Start and stop steps as processes of their own, which outlive browser and server.

A job is `pairtrace <step> …` in a session of its own, writing to its run's folder; everything
there is to know about it is read from that folder (core.runs.store). Jobs that depend on each
other may be started together: each waits for its inputs, and for the device.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from core.runs.commands import arguments, command
from core.runs.environment import prepare
from core.runs.execution import describe
from core.runs.progress import Progress
from core.runs.specs import Spec
from core.runs.store import Store

GRACE_SECONDS = 8.0  # from SIGTERM to SIGKILL; cancel promises ten


def start(store: Store, spec: Spec) -> str:
    """Start the run of `spec` in the background, unless it is finished or under way.

    Returns its id at once. Starting a failed or cancelled run again resumes it.
    """
    run = store.run_id(spec)
    if store.state(run) in ("waiting", "running", "finished"):
        return run
    store.write_record(run, describe(spec, store))
    folder = store.folder(run)
    progress = Progress(folder / "progress.jsonl")
    progress.event("queued", command=command(spec, store))
    environment = dict(os.environ)
    prepare(store.workspace, environment)
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "core.cli", *arguments(spec, store), "--json"],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    progress.event("spawned", pid=process.pid)
    return run


def cancel(store: Store, run: str) -> None:
    """Stop a job: ask, wait up to eight seconds, then kill. What is checkpointed stays."""
    if store.state(run) not in ("waiting", "running"):
        return
    with suppress(psutil.NoSuchProcess):
        _stop(psutil.Process(store.events(run)[-1]["pid"]))
    if store.state(run) != "finished":
        Progress(store.folder(run) / "progress.jsonl").event("cancelled")


def _stop(process: psutil.Process) -> None:
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs([process], timeout=GRACE_SECONDS)
    for member in family if alive else family[1:]:
        if member.is_running():
            member.kill()
