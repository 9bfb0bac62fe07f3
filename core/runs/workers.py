"""Workers: child processes for blocking calls, and executors for independent tasks.

`child_process` makes calls in one other process: UMAP and HDBSCAN run for minutes inside compiled
code that neither reports nor handles a signal. The executors compute independent tasks in this
process, in several child processes, or on a Ray cluster: a worker is made once per process,
`make()`, and called with one task after another, `worker(task, tick)`. Tasks and results are small;
large data are files that a worker writes atomically, since it may be killed at any time. The task
of a lost worker is given to another one. Knows nothing of what is computed.
"""

import importlib
import multiprocessing
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from core.errors import UserError

Tick = Callable[[int], None]
Worker = Callable[[Any, Tick], Any]
PAUSE = 0.5  # seconds between two heartbeats
GRACE = 10  # seconds for a child to end before it is killed
LESS = "Use fewer pairs, or a machine with more memory."
LOSSES = 3  # processes that may die before the cause is taken to be the task
RAY_RESERVE = 2  # logical CPUs that Ray Data needs beside its actors, or it waits for ever


class Call(Protocol):
    """Returns `function(*args, **settings)`; `note` names what takes the time."""

    def __call__(
        self, note: str, function: Callable[..., Any], *args: Any, **settings: Any
    ) -> Any: ...


def call_directly(note: str, function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """The `Call` of this process, for what is quick: it reports nothing."""
    return function(*args, **settings)


@contextmanager
def child_process(beat: Callable[[str], None], advice: str = LESS) -> Iterator[Call]:
    """A `Call` into one child process, which lives as long as the block.

    Functions and arguments are pickled. During a call `beat` is called twice a second; what it
    raises (such as `Cancelled`) ends the child. `advice` is for a child that died.
    """

    def call(note: str, function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
        start = time.monotonic()
        child.send((function, args, settings))
        while not _ready([child]):
            beat(f"{note}, {time.monotonic() - start:.0f} s")
        try:
            return child.result()
        except _DeathError as death:
            beat(note)  # a stop that reached the child first is a stop, not a loss
            died = f"{note}: its process died (exit code {death}; -9 is usually out of memory). "
            raise UserError(died + advice) from None

    with closing(_Child(_make_caller)) as child:
        yield call


def _make_caller() -> Worker:
    return lambda task, _tick: task[0](*task[1], **task[2])


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


def worker_count(name: str) -> int:
    """The number of tasks that an executor computes at once."""
    executor = pick(name)
    return 1 if isinstance(executor, Inline) else executor.workers


@dataclass(frozen=True)
class Inline:
    """One task after another in this process; `tick` receives the progress within tasks."""

    def __call__(
        self, make: Callable[[], Worker], tasks: Sequence[Any], tick: Tick
    ) -> Iterator[Any]:
        if tasks:
            worker = make()
            for task in tasks:
                yield worker(task, tick)


@dataclass(frozen=True)
class Processes:
    """Child processes; results come in any order. `make`, tasks and results are pickled."""

    workers: int

    def __call__(
        self, make: Callable[[], Worker], tasks: Sequence[Any], tick: Tick
    ) -> Iterator[Any]:
        waiting, losses = list(reversed(tasks)), 0
        idle: list[_Child] = []
        busy: dict[_Child, Any] = {}  # child → its task
        with ExitStack() as children:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    child = idle.pop() if idle else children.enter_context(closing(_Child(make)))
                    busy[child] = waiting.pop()
                    child.send(busy[child])
                ready = _ready(busy)
                tick(0)
                for child in ready:
                    task = busy.pop(child)
                    try:
                        yield child.result()
                        idle.append(child)
                    except _DeathError as death:
                        waiting.append(task)
                        losses += 1
                        if losses > LOSSES:
                            raise UserError(
                                f"workers died {losses} times (out of memory?). Use fewer "
                                "workers; what is done is kept."
                            ) from death


class _DeathError(Exception):
    """The exit code of a process that died."""


class _Child:
    """A process that computes one task after another, and ends with this one."""

    def __init__(self, make: Callable[[], Worker]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, task: Any) -> None:
        with suppress(BrokenPipeError):  # it died: `result` raises that
            self.pipe.send(task)

    def result(self) -> Any:
        """The result of the task, once `_ready`. Raises the worker's error, or `_DeathError`."""
        try:
            answer, error = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise _DeathError(self.process.exitcode) from None
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(GRACE)
        self.process.kill()  # one that ignores the signal
        self.process.join()


def _ready(children: Collection[_Child]) -> list[_Child]:
    """The children that have a result or died; empty after a pause."""
    ready = wait([child.pipe for child in children], PAUSE)
    return [child for child in children if child.pipe in ready]


def _serve(pipe: Any, make: Callable[[], Worker]) -> None:
    """Compute what is sent until the other side is gone; send back a result or an error."""
    _end_with_parent()
    worker = None
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            worker = worker or make()
            answer: tuple[Any, Exception | None] = (worker(task, _ignore), None)
        except Exception as error:  # noqa: BLE001  raised again in the parent
            error.add_note(traceback.format_exc())
            answer = (None, error)
        pipe.send(answer)


def _end_with_parent() -> None:
    """Let this process end when its parent does, even by SIGKILL.

    Compiled code does not notice: it would keep its memory until it is done.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only for processes that multiprocessing started"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _ignore(_done: int) -> None:
    """Progress within a task is not sent between processes."""


@dataclass(frozen=True)
class Ray:
    """Ray Data actors, on the cluster of RAY_ADDRESS or else on this machine."""

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
    """Ray Data, and GPUs per actor. `UserError` where the actors would wait for ever."""
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
    there = ray.cluster_resources()
    if there.get("CPU", 0) < needed:
        raise UserError(
            f"ray:{workers} needs {needed} logical CPUs ({workers} actors and {RAY_RESERVE} for "
            f"Ray Data); the cluster has {there.get('CPU', 0):.0f}. Use fewer actors or more nodes."
        )
    data.DataContext.get_current().enable_progress_bars = False
    return data, int(there.get("GPU", 0) >= workers)


def _refuse_blind_nodes(shared: tuple[Path, ...]) -> None:
    """`UserError` where a node on which an actor may start does not see one of the folders."""
    ray = importlib.import_module("ray")
    place = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    ask = ray.remote(_unseen).options
    answers = [
        ask(num_cpus=0, scheduling_strategy=place(node["NodeID"], soft=True)).remote(shared)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) > 0
    ]
    if unseen := sorted({message for node in ray.get(answers) for message in node}):
        raise UserError(
            f"{'; '.join(unseen)}. Every Ray node reads the model and writes vectors under the "
            "same paths as this one: mount the shared folders there (docs/cluster.md), or start "
            "the cluster without that node."
        )


def _unseen(shared: tuple[Path, ...]) -> list[str]:
    return [f"{socket.gethostname()} does not see {path}" for path in shared if not path.is_dir()]
