"""Execution of one spec in this process: lock, wait, compute, publish, record the cost.

`execute` makes a run; `repeat` makes a recorded run and its inputs again in another store. Knows
nothing of what a step computes: its module is imported by name, here only, so that processes that
compute nothing start fast.
"""

import importlib
import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import BaseFileLock, Timeout

from core import environment
from core.errors import UserError, explain
from core.models.memory import peak_resident
from core.runs.progress import Cancelled, Progress
from core.runs.store import Store
from core.specs import project
from core.specs.base import Spec, references
from core.specs.steps import is_run

POLL_SECONDS = 0.5
SAME_LAUNCH_SECONDS = 60  # processes of one launch start within this time
PACKAGES = (
    *("pairtrace", "torch", "transformers", "trl", "peft"),
    *("numpy", "pandas", "umap-learn", "hdbscan"),
)


def execute(
    spec: Spec, store: Store, *, listen: Callable[[dict[str, Any]], None] | None = None
) -> str:
    """Make the run of `spec` and return its id.

    A finished run is left as it is; one that another process works on is waited for. Raises
    `UserError` for bad input and `Cancelled` when stopped; both are recorded in the run. Under
    `accelerate launch` or `torchrun` the first process does all this, and the others compute along.
    """
    run = store.run_id(spec)
    if spec.distributed and environment.rank() > 0:
        return _compute_along(run, spec, store)
    store.folder(run).mkdir(parents=True, exist_ok=True)
    progress = Progress(store.folder(run) / "progress.jsonl", listen)
    with (
        progress.stopping_on_signals(),
        _recording_failure(progress, store.folder(run)),
        _locked(store.lock(run), progress, "for the process that makes this run"),
    ):
        if store.state(run) == "finished":
            return run
        _wait_for_inputs(spec, store, progress)
        store.write_record(run, describe(spec, store))
        with _device(spec, store, progress):
            _compute(run, spec, store, progress)
        store.publish(run)
        _record_end(progress, "finished")
    return run


def describe(spec: Spec, store: Store) -> dict[str, Any]:
    """The content of spec.json before the run has a cost."""
    return {
        "step": spec.step,
        "spec": spec.model_dump(mode="json"),
        "contents": store.contents(spec),
        "provenance": {
            "versions": {name: _version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "git_commit": _git_commit(),
            "trust_remote_code": environment.trusts_code(),
            "trust_judge_code": environment.trusts_judge_code(),
            "created": time.time(),
        },
    }


def inputs(spec: Spec) -> list[str]:
    """Ids of the runs that a spec reads, those in its recipes included."""
    fields = [getattr(spec, name) for name in references(spec)]
    nested = [run for edit in getattr(spec, "edits", ()) for run in edit.runs()]
    return [name for name in [*fields, *nested] if name and is_run(name)]


def _compute(run: str, spec: Spec, store: Store, progress: Progress) -> None:
    progress.event("started")
    before, began = _cpu_seconds(), time.time()
    step = importlib.import_module(f"core.steps.{spec.step}")
    step.run(spec, store=store, output=store.part(run, keep=spec.resumable), progress=progress)
    record = store.record(run)
    record["cost"] = {
        "cpu_seconds": round(_cpu_seconds() - before, 2),
        "wall_seconds": round(time.time() - began, 2),
        "peak_memory_bytes": peak_resident(),
        "device": _device_name(),
    }
    store.write_record(run, record)


def _compute_along(run: str, spec: Spec, store: Store) -> str:
    """Compute with the first process of the launch, which alone locks, records and publishes."""
    since = psutil.Process().create_time() - SAME_LAUNCH_SECONDS
    with Progress().stopping_on_signals():  # the first process decides when to stop
        while not _started(store.events(run), since):
            if store.state(run) == "finished":
                return run
            time.sleep(POLL_SECONDS)
        step = importlib.import_module(f"core.steps.{spec.step}")
        with environment.computing_on(project.device(store.workspace)):
            step.run(
                spec, store=store, output=store.part(run, keep=True), progress=lambda *_, **__: None
            )
        while store.state(run) in ("waiting", "running"):
            time.sleep(POLL_SECONDS)
    return run


def _started(events: list[dict[str, Any]], since: float) -> bool:
    """Whether the latest attempt started to compute after a time and has not ended."""
    names = [event["event"] for event in events]
    if "started" not in names:
        return False
    at = len(names) - 1 - names[::-1].index("started")
    ended = {"failed", "cancelled", "finished"} & set(names[at:])
    return events[at]["time"] >= since and not ended


@contextmanager
def _recording_failure(progress: Progress, folder: Path) -> Iterator[None]:
    try:
        yield
    except Cancelled:
        _record_end(progress, "cancelled")
        raise
    except UserError as error:
        _record_end(progress, "failed", error=str(error))
        raise
    except BaseException as error:
        explained = explain(error, folder) if isinstance(error, Exception) else None
        if explained is None:
            message = f"{type(error).__name__}: {error} (traceback in log.txt)"
            _record_end(progress, "failed", error=message)
            traceback.print_exc()
            raise
        _record_end(progress, "failed", error=str(explained))
        raise explained from error


def _record_end(progress: Progress, event: str, **fields: Any) -> None:
    """Record how an attempt ended, if the disk has room for it."""
    with suppress(OSError):
        progress.event(event, **fields)


def _wait_for_inputs(spec: Spec, store: Store, progress: Progress) -> None:
    """Return when every input run is finished. `UserError` if one is neither under way."""
    for run in inputs(spec):
        reported = False
        while (state := store.state(run)) != "finished":
            if state not in ("waiting", "running"):
                raise UserError(f"input {run} is {state}. Run it first, or run it again.")
            if not reported:
                progress.event("waiting", note=f"for {run}")
                reported = True
            if progress.stop.wait(POLL_SECONDS):
                raise Cancelled


@contextmanager
def _device(spec: Spec, store: Store, progress: Progress) -> Iterator[None]:
    """Take the devices of a step: each GPU (or a laptop's cores) computes one step at a time."""
    if not spec.needs_device():
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(environment.computing_on(project.device(store.workspace)))
        taken = environment.taken()
        shared = spec.shares_cpu() and set(taken) == {environment.CPU}
        for name in [] if shared else sorted(taken):  # the same order everywhere: no deadlock
            note = f"for the device {name}"
            stack.enter_context(_locked(store.device_lock(name), progress, note))
        yield


@contextmanager
def _locked(lock: BaseFileLock, progress: Progress, note: str) -> Iterator[None]:
    """Take a lock; while another process has it, report that once and heed a stop."""
    reported = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL_SECONDS)
        except Timeout:
            if not reported:
                progress.event("waiting", note=note)
                reported = True
            if progress.stop.is_set():
                raise Cancelled from None
    try:
        yield
    finally:
        lock.release()


def _cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _device_name() -> str:
    """The GPU's or processor's name, after the device that was asked for, if any."""
    asked, torch = environment.device(), sys.modules.get("torch")
    name = platform.processor() or platform.machine()
    if torch is not None and asked != "cpu" and torch.cuda.is_available():
        name = str(torch.cuda.get_device_name(asked if asked.startswith("cuda") else None))
    return name if asked == "auto" else f"{asked}: {name}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git_commit() -> str:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "not a git checkout"
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def repeat(store: Store, run: str, execute: Callable[[Spec], str]) -> str:
    """Execute a recorded run after every run that it reads. Returns the new id.

    `execute` works in another store; ids name content, so the new id equals the old one.
    `UserError` if a file behind the spec has changed, or the settings of the step have.
    """
    spec = store.spec(run)
    _check_unchanged(store, run, spec)
    for needed in inputs(spec):
        repeat(store, needed, execute)
    return execute(spec)


def _check_unchanged(store: Store, run: str, spec: Spec) -> None:
    """`UserError` where the content behind the spec's references has changed."""
    then, now = store.record(run)["contents"], store.contents(spec)
    changed = [name for name in references(spec) if now.get(name) != then.get(name)]
    if changed:
        paths = ", ".join(f"{name} ({getattr(spec, name)})" for name in changed)
        raise UserError(f"{run} cannot be repeated: changed since: {paths}.")
    if store.run_id(spec) != run:
        commit = store.record(run)["provenance"]["git_commit"]
        raise UserError(
            f"{run} cannot be repeated by this version of PairTrace, which has other settings. "
            f"It was made by commit {commit}."
        )
