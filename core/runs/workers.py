"""Where independent tasks are computed: in this process, in several, or on a Ray cluster.

A worker is made once per process, `make()`, and called with one task after another,
`worker(task, tick)`. Tasks and results are small; what is large lies in files that the worker
writes itself. Every executor yields results as they come, in any order, and gives the task of a
lost worker to another one: so a worker must leave a task done or undone, never half. Knows nothing
of what the tasks are.
"""

import importlib
import multiprocessing
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.errors import UserError
from core.runs.subprocess_call import end_with_parent

Tick = Callable[[int], None]
Worker = Callable[[Any, Tick], Any]
LOSSES = 3  # pools that may break before the cause is taken to be the task
RAY_RESERVE = 2  # logical CPUs that Ray Data needs beside its actors, or it waits for ever


class Executor(Protocol):
    """Computes tasks and yields their results."""

    def __call__(
        self, make: Callable[[], Worker], tasks: Sequence[Any], tick: Tick
    ) -> Iterator[Any]: ...


def pick(name: str, shared: tuple[Path, ...] = ()) -> "Inline | Processes | Ray":
    """The executor of a name: `inline`, `process:N`, or `ray:N`.

    `shared`: the folders that workers read and write, which every node must see.
    """
    kind, _, count = name.partition(":")
    if kind == "inline" and not count:
        return Inline()
    if kind not in ("process", "ray") or not count.isdigit() or int(count) < 1:
        raise UserError(f"executor {name!r}: it is inline, process:N or ray:N, N ≥ 1 workers.")
    return Processes(int(count)) if kind == "process" else Ray(int(count), shared)


def workers(name: str) -> int:
    """How many tasks are computed at once under an executor's name."""
    executor = pick(name)
    return 1 if isinstance(executor, Inline) else executor.workers


@dataclass(frozen=True)
class Inline:
    """One task after another, here; `tick` sees how far each is (elsewhere: only that it lives)."""

    def __call__(
        self, make: Callable[[], Worker], tasks: Sequence[Any], tick: Tick
    ) -> Iterator[Any]:
        if tasks:
            worker = make()
            for task in tasks:
                yield worker(task, tick)


@dataclass(frozen=True)
class Processes:
    """Processes of this machine. `make` and tasks are pickled."""

    workers: int

    def __call__(
        self, make: Callable[[], Worker], tasks: Sequence[Any], tick: Tick
    ) -> Iterator[Any]:
        left, losses = list(range(len(tasks))), 0
        while left:
            try:
                for number, result in self._attempt(make, tasks, list(left), tick):
                    left.remove(number)
                    yield result
            except BrokenProcessPool as error:
                losses += 1
                if losses > LOSSES:
                    raise UserError(
                        f"workers died {losses} times (out of memory?). Use fewer workers; what "
                        "is done is kept."
                    ) from error

    def _attempt(
        self, make: Callable[[], Worker], tasks: Sequence[Any], numbers: list[int], tick: Tick
    ) -> Iterator[tuple[int, Any]]:
        pool = ProcessPoolExecutor(
            min(self.workers, len(numbers)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(make,),
        )
        try:
            futures = {pool.submit(_work, tasks[number]): number for number in numbers}
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                tick(0)
                for future in done:
                    yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_worker: list[Worker] = []  # of this process, once started


def _start(make: Callable[[], Worker]) -> None:
    end_with_parent()
    _worker[:] = [make()]


def _work(task: Any) -> Any:
    return _worker[0](task, _ignore)


def _ignore(_done: int) -> None:
    """Progress within a task is not sent between processes."""


@dataclass(frozen=True)
class Ray:
    """Ray Data actors, on the cluster that RAY_ADDRESS names or else on this machine."""

    workers: int
    shared: tuple[Path, ...] = ()

    def __call__(
        self, make: Callable[[], Worker], tasks: Sequence[Any], tick: Tick
    ) -> Iterator[Any]:
        if not tasks:
            return
        data, gpus = _connect(self.workers)
        _refuse_blind_nodes(self.shared)
        rows = data.from_items([{"task": task} for task in tasks], override_num_blocks=len(tasks))
        done = rows.map(
            _RayActor,
            fn_constructor_args=(make,),
            concurrency=self.workers,
            num_cpus=1,
            num_gpus=gpus,
        )
        for row in done.iter_rows():
            yield row["result"]


class _RayActor:
    def __init__(self, make: Callable[[], Worker]) -> None:
        self.worker = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": self.worker(row["task"], _ignore)}


def _connect(workers: int) -> tuple[Any, int]:
    """Ray Data, and GPUs per actor; refuses a cluster on which the actors would wait for ever."""
    try:
        ray = importlib.import_module("ray")
        data = importlib.import_module("ray.data")
    except ModuleNotFoundError as error:
        raise UserError("Ray is not installed. Run: pip install 'pairtrace[ray]'.") from error
    needed = workers + RAY_RESERVE
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False)  # RAY_ADDRESS, or a cluster that runs
        except ConnectionError:
            ray.init(num_cpus=needed, log_to_driver=False)
    found = ray.cluster_resources()
    if found.get("CPU", 0) < needed:
        raise UserError(
            f"ray:{workers} needs {needed} logical CPUs ({workers} actors and {RAY_RESERVE} for "
            f"Ray Data); the cluster has {found.get('CPU', 0):.0f}. Use fewer actors or more nodes."
        )
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    return data, int(found.get("GPU", 0) >= workers)


def _refuse_blind_nodes(shared: tuple[Path, ...]) -> None:
    """`UserError` if a node on which an actor may start does not see one of these folders."""
    ray = importlib.import_module("ray")
    place = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    look = ray.remote(_unseen).options
    asked = [
        look(num_cpus=0, scheduling_strategy=place(node["NodeID"], soft=True)).remote(shared)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) > 0
    ]
    if unseen := sorted({one for node in ray.get(asked) for one in node}):
        raise UserError(
            f"{'; '.join(unseen)}. Every Ray node reads the model and writes vectors under the "
            "same paths as this one: mount the shared folders there (docs/cluster.md), or start "
            "the cluster without that node."
        )


def _unseen(shared: tuple[Path, ...]) -> list[str]:
    return [f"{socket.gethostname()} does not see {path}" for path in shared if not path.is_dir()]
