"""Jobs: runs in background processes, which outlive browser and server.

A job is `pairtrace <step> …` in its own session, writing to its run's folder; its state is read
from that folder (core.runs.store). Jobs that depend on each other may be started together: each
waits for its inputs and its device. Time is forecast by the median of the workspace's finished runs
of a step, or by the pace of a run under way; runs that share a device come one after the other.

Importing torch takes seconds, which is long for whoever waits for the words of one pair. So the
app's server may keep one process per workspace that has imported what such a job needs (`warm`). It
works on one after another, and ends with the server or after `IDLE_SECONDS` without any.
"""

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
from filelock import FileLock

from core.environment import launcher, prepared, refuse_trust
from core.runs.commands import arguments, command
from core.runs.execute import describe, execute
from core.runs.progress import Progress, live_process
from core.runs.store import RunInfo, Store
from core.specs.base import Spec
from core.specs.steps import STEPS
from core.storage.atomic import file_lock

SETTLED = 0.1  # of a run's work; before, what such runs took is a better guess
GRACE_SECONDS = 8.0  # from SIGTERM to SIGKILL; cancel promises ten
NICE = 10  # of long jobs: a tenth of the CPU time of others, where cores are scarce
HEAVY = ("core.models.loading", "core.models.extraction.activations")
WARM = ("explain",)  # steps that a warm process takes
IDLE_SECONDS = 600.0
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
            process = _hand_over(store, spec) or _spawn(store, spec, run)
        except OSError as error:
            progress.event("failed", error=f"its process could not be started: {error}")
            raise
        progress.event("spawned", pid=process.pid)
    return run


def finished_within(store: Store, run: str, seconds: float) -> bool:
    """Whether a run finishes within some seconds; waits for it until then."""
    end = time.monotonic() + seconds
    while store.state(run) not in ("finished", "failed", "cancelled"):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return store.state(run) == "finished"


def allow_warm() -> None:
    """Let this process keep warm processes: the app's server."""
    _warm.allowed = True


def warm(store: Store) -> None:
    """Have a process ready for brief jobs of this workspace, where this process may keep one."""
    with _warm.lock:
        process = _warm.processes.get(store.workspace)
        if not _warm.allowed or not store.writable or (process and process.poll() is None):
            return
        _warm.processes[store.workspace] = subprocess.Popen(
            [sys.executable, "-c", "from core.runs import jobs; jobs.work()"],
            cwd=Path(__file__).parents[2],
            env=prepared(store.workspace),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def work() -> None:
    """What a warm process does: a job per line of its input, until there is no more input."""
    for module in ("core.steps.explain", *HEAVY):
        importlib.import_module(module)
    while line := _next_line():
        job = json.loads(line)
        store = Store(job["workspace"], who=job["who"])
        spec = STEPS[job["step"]].model_validate(job["spec"])
        with (
            (store.folder(store.run_id(spec)) / "log.txt").open("a") as log,
            redirect_stdout(log),
            redirect_stderr(log),
            suppress(Exception),  # recorded in the run
        ):
            execute(spec, store)


def _next_line() -> str:
    timer = threading.Timer(IDLE_SECONDS, os._exit, [0])
    timer.start()
    line = sys.stdin.readline()
    timer.cancel()
    return line


def _hand_over(store: Store, spec: Spec) -> subprocess.Popen[bytes] | None:
    """The warm process of this workspace, which then works on a job; None where there is none."""
    with _warm.lock:
        process = _warm.processes.get(store.workspace)
        if spec.step not in WARM or process is None or process.poll() is not None:
            return None
        job = {"workspace": str(store.workspace), "who": store.who, "step": spec.step}
        line = json.dumps(job | {"spec": spec.model_dump(mode="json")}) + "\n"
        assert process.stdin is not None
        try:
            process.stdin.write(line.encode())
            process.stdin.flush()
        except OSError:
            return None
        return process


@dataclass
class _Warm:
    """The warm processes that this process keeps, by workspace."""

    allowed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    processes: dict[Path, subprocess.Popen[bytes]] = field(default_factory=dict)


_warm = _Warm()


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
    return file_lock(store.folder(run) / "starting")


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


class Forecast(NamedTuple):
    """Expected seconds until all runs are done, and the steps that have no finished run yet."""

    seconds: float
    unknown: tuple[str, ...]


def typical_seconds(store: Store) -> dict[str, float]:
    """Median wall-clock seconds of the finished runs, by step; a tried prompt is no evaluation."""
    infos = store.infos(state="finished")
    most = {info.step: max(i.total for i in infos if i.step == info.step) for info in infos}
    full = [info for info in infos if 2 * info.total >= most[info.step]]
    return {step: median(i.seconds for i in full if i.step == step) for step in most}


def forecast(steps: Iterable[str], typical: dict[str, float]) -> Forecast:
    """The time of runs that have not begun."""
    return _total((step, typical.get(step)) for step in steps)


def time_left(infos: Iterable[RunInfo], typical: dict[str, float]) -> Forecast:
    """The time that waiting and running runs still need."""
    open_states = ("absent", "waiting", "running")
    return _total((i.step, _time_left(i, typical)) for i in infos if i.state in open_states)


def _time_left(info: RunInfo, typical: dict[str, float]) -> float | None:
    usual = typical.get(info.step)
    early = usual is not None and info.done < SETTLED * info.total
    if info.state == "running" and info.left is not None and not early:
        return info.left
    return None if usual is None else max(0.0, usual - info.seconds * (info.state == "running"))


def _total(runs: Iterable[tuple[str, float | None]]) -> Forecast:
    times = list(runs)
    unknown = dict.fromkeys(step for step, seconds in times if seconds is None)
    return Forecast(sum(seconds or 0.0 for _, seconds in times), tuple(unknown))
