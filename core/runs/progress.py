"""What a running step tells the outside: an append-only file of events, and the wish to stop.

A step calls `progress(done, total, note)` often. Each call appends one JSON line (at most ten a
second) and, once a stop was asked for, raises `Cancelled` at that safe point, never in the
middle of a write.

Which process wrote a line of a run's progress, so that it is found again and never mistaken.

A number alone says too little: numbers are reused, and a copied workspace carries those of the
original's processes. So a process is also known by when it started, in seconds after the machine
did (which setting the clock does not move), and by the run's folder that it works in.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

EVENTS_PER_SECOND = 10
Report = Callable[[int, int], None]  # done, total; may raise `Cancelled`
NotedReport = Callable[[int, int, str], None]  # done, total, note; may raise `Cancelled`


class Cancelled(BaseException):
    """A stop was asked for. Not an Exception: no step swallows it by accident."""


class Progress:
    """Callable that records how far a step is; `listen` also shows it (a terminal's bar)."""

    def __init__(
        self, path: Path | None = None, listen: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.path = path
        self.listen = listen
        self.stop = threading.Event()
        self._last = 0.0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units of work are finished. Raises `Cancelled` when asked to stop."""
        if self.stop.is_set():
            raise Cancelled
        now = time.monotonic()
        if done < total and now - self._last < 1 / EVENTS_PER_SECOND:
            return
        self._last = now
        self.event("progress", done=done, total=total, note=note)

    def event(self, name: str, *, pid: int | None = None, **fields: Any) -> None:
        """Append one event, of this process unless another one is named."""
        record = {"time": time.time(), "event": name, **fields}
        if self.path is not None:
            record |= described(pid or os.getpid(), self.path.parent)
            _append(self.path, json.dumps(record, ensure_ascii=False))
        if self.listen is not None:
            self.listen(record)

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into a stop at the next call; a no-op off the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, lambda *_: self.stop.set()) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def read_events(path: Path) -> list[dict[str, Any]]:
    """All whole events of a run; lines cut by a crash, or damaged, are left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if _is_whole(event):
            events.append(event)
    return events


def _append(path: Path, line: str) -> None:
    """Add a line; what a full disk left of an earlier one does not swallow it."""
    with path.open("a+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(end - 1, 0))
        cut = stream.read(1) not in (b"", b"\n")
        stream.write(b"\n" * cut + line.encode() + b"\n")


def _is_whole(event: Any) -> bool:
    kinds = {"event": str, "time": float, "pid": int}
    return isinstance(event, dict) and all(
        isinstance(event.get(name), kind) for name, kind in kinds.items()
    )


APART = 2.0  # seconds: the kernel tells the time of its own start in whole ones


def described(pid: int, folder: Path) -> dict[str, Any]:
    """What tells a live process from every other one: `pid`, `born`, `folder`."""
    return {"pid": pid, "born": _born(psutil.Process(pid)), "folder": str(folder.resolve())}


def found(known: Mapping[str, Any], folder: Path) -> psutil.Process | None:
    """The process of a description, if it still runs and works in `folder`, not in its original."""
    if known.get("folder") != str(folder.resolve()) or not isinstance(known.get("born"), float):
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(known["pid"])
        same = abs(_born(process) - known["born"]) < APART
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _born(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
