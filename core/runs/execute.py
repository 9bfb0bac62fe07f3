"""Run one spec in this process: lock, wait for inputs and device, compute, publish, record cost.

Knows the order of these and nothing of what a step computes: the step's module is imported by
name, here and only here, so that light processes stay light.

Make a run again elsewhere, from nothing but its spec.json and those of its inputs.
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
from core.errors import UserError, in_words
from core.runs.progress import Cancelled, Progress
from core.runs.store import Store
from core.specs import project
from core.specs.base import Spec, references
from core.specs.steps import is_run

POLL_SECONDS = 0.5
SAME_LAUNCH_SECONDS = 60  # processes of one launch are born within this of each other
PACKAGES = (
    *("pairtrace", "torch", "transformers", "trl", "peft"),
    *("numpy", "pandas", "umap-learn", "hdbscan"),
)


def execute(
    spec: Spec, store: Store, *, listen: Callable[[dict[str, Any]], None] | None = None
) -> str:
    """Bring the run of `spec` to its finished state and return its id.

    A run that is finished is left as it is; one that another process works on is waited for.
    Raises `UserError` for bad input, `Cancelled` when stopped; both are recorded in the run.
    Under `accelerate launch` or `torchrun` the first process does all this, and the others help.
    """
    run = store.run_id(spec)
    if spec.distributed and environment.rank() > 0:
        return _help(run, spec, store)
    store.folder(run).mkdir(parents=True, exist_ok=True)
    progress = Progress(store.folder(run) / "progress.jsonl", listen)
    with (
        progress.stopping_on_signals(),
        _recording_failure(progress, store.folder(run)),
        _held(store.lock(run), progress, "for the process that makes this run"),
    ):
        if store.state(run) == "finished":
            return run
        _wait_for_inputs(spec, store, progress)
        store.write_record(run, describe(spec, store))
        with _device(spec, store, progress):
            _compute(run, spec, store, progress)
        store.publish(run)
        _tell(progress, "finished")
    return run


def describe(spec: Spec, store: Store) -> dict[str, Any]:
    """What spec.json says of a run before it has cost anything."""
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
            "created": time.time(),
        },
    }


def inputs(spec: Spec) -> list[str]:
    """Ids of the runs that a spec reads, those inside its recipes included."""
    named = [getattr(spec, name) for name in references(spec)]
    nested = [run for edit in getattr(spec, "edits", ()) for run in edit.recipe.runs()]
    return [name for name in [*named, *nested] if name and is_run(name)]


def _compute(run: str, spec: Spec, store: Store, progress: Progress) -> None:
    progress.event("started")
    before, began = _cpu_seconds(), time.time()
    step = importlib.import_module(f"core.steps.{spec.step}")
    step.run(spec, store=store, output=store.part(run, keep=spec.resumable), progress=progress)
    record = store.record(run)
    record["cost"] = {
        "cpu_seconds": round(_cpu_seconds() - before, 2),
        "wall_seconds": round(time.time() - began, 2),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device": _device_name(),
    }
    store.write_record(run, record)


def _help(run: str, spec: Spec, store: Store) -> str:
    """Compute along with the launch's first process, which alone locks, records and publishes."""
    born = psutil.Process().create_time() - SAME_LAUNCH_SECONDS
    with Progress().stopping_on_signals():  # it is the first process that says when to stop
        while not _under_way(store.events(run), born):
            if store.state(run) == "finished":
                return run
            time.sleep(POLL_SECONDS)
        step = importlib.import_module(f"core.steps.{spec.step}")
        with environment.computing_on(project.device(store.workspace)):
            step.run(spec, store=store, output=store.part(run, keep=True), progress=lambda *_: None)
        while store.state(run) in ("waiting", "running"):
            time.sleep(POLL_SECONDS)
    return run


def _under_way(events: list[dict[str, Any]], since: float) -> bool:
    """Whether the latest attempt has started to compute, later than a time."""
    names = [event["event"] for event in events]
    if "started" not in names:
        return False
    at = len(names) - 1 - names[::-1].index("started")
    over = {"failed", "cancelled", "finished"} & set(names[at:])
    return events[at]["time"] >= since and not over


@contextmanager
def _recording_failure(progress: Progress, folder: Path) -> Iterator[None]:
    try:
        yield
    except Cancelled:
        _tell(progress, "cancelled")
        raise
    except UserError as error:
        _tell(progress, "failed", error=str(error))
        raise
    except BaseException as error:
        known = in_words(error, folder) if isinstance(error, Exception) else None
        if known is None:
            said = f"{type(error).__name__}: {error} (traceback in log.txt)"
            _tell(progress, "failed", error=said)
            traceback.print_exc()
            raise
        _tell(progress, "failed", error=str(known))
        raise known from error


def _tell(progress: Progress, event: str, **fields: Any) -> None:
    """An attempt's last event; how it ended does not depend on there being room to write it."""
    with suppress(OSError):
        progress.event(event, **fields)


def _wait_for_inputs(spec: Spec, store: Store, progress: Progress) -> None:
    """Return when every input run is finished; refuse when one will never be."""
    for run in inputs(spec):
        waits = False
        while (state := store.state(run)) != "finished":
            if state not in ("waiting", "running"):
                raise UserError(f"input {run} is {state}. Run it first, or run it again.")
            if not waits:
                progress.event("waiting", note=f"for {run}")
                waits = True
            if progress.stop.wait(POLL_SECONDS):
                raise Cancelled


@contextmanager
def _device(spec: Spec, store: Store, progress: Progress) -> Iterator[None]:
    """One step at a time on each GPU (or on a laptop's cores); the rest wait in line."""
    if not spec.uses_device:
        yield
        return
    with ExitStack() as held:
        held.enter_context(environment.computing_on(project.device(store.workspace)))
        for name in sorted(environment.taken()):  # in one order, so that no two wait for each other
            note = f"for the device {name}"
            held.enter_context(_held(store.device_lock(name), progress, note))
        yield


@contextmanager
def _held(lock: BaseFileLock, progress: Progress, note: str) -> Iterator[None]:
    """Hold a lock; while another holds it, say so once and listen for a stop."""
    waits = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL_SECONDS)
        except Timeout:
            if not waits:
                progress.event("waiting", note=note)
                waits = True
            if progress.stop.is_set():
                raise Cancelled from None
    try:
        yield
    finally:
        lock.release()


def _cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _device_name() -> str:
    """What computed: the GPU's name or the processor's, after where somebody wanted it."""
    wanted, torch = environment.device(), sys.modules.get("torch")
    name = platform.processor() or platform.machine()
    if torch is not None and wanted != "cpu" and torch.cuda.is_available():
        name = str(torch.cuda.get_device_name(wanted if wanted.startswith("cuda") else None))
    return name if wanted == "auto" else f"{wanted}: {name}"


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
    """Execute a recorded run and, before it, every run that it reads. Returns the new id.

    `execute` works in another store. Ids are names of content, so the new id equals the old one.
    `UserError` where it cannot be: a file behind the spec has changed, or the knobs have.
    """
    spec = store.spec(run)
    _check_unchanged(store, run, spec)
    for needed in inputs(spec):
        repeat(store, needed, execute)
    return execute(spec)


def _check_unchanged(store: Store, run: str, spec: Spec) -> None:
    """Before anything is computed: what the spec names must be what it named then."""
    then, now = store.record(run)["contents"], store.contents(spec)
    changed = [name for name in now if now[name] != then.get(name)]
    if changed:
        paths = ", ".join(f"{name} ({getattr(spec, name)})" for name in changed)
        raise UserError(f"{run} cannot be repeated: changed since: {paths}.")
    if store.run_id(spec) != run:
        commit = store.record(run)["provenance"]["git_commit"]
        raise UserError(
            f"{run} cannot be repeated by this version of PairTrace, which knows other knobs. "
            f"It was made by commit {commit}."
        )
