"""Events of a run, and the stop of a running step.

`progress.jsonl` is append-only, one JSON object per event. A step calls `progress(done, total,
note)` often; that appends at most ten events a second and, once a stop was asked for, raises
`Cancelled`, at a safe point and never in the middle of a write. An event names its process by pid,
start time (seconds after boot, which setting the clock does not change) and the run's folder,
because pids are reused and a copied workspace contains those of the original's processes.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psutil

EVENTS_PER_SECOND = 10
TOLERANCE = 2.0  # seconds; start times come from the boot time in whole seconds
Report = Callable[[int, int], None]  # done, total; may raise `Cancelled`
State = Literal["absent", "waiting", "running", "failed", "cancelled", "finished"]
NotedReport = Callable[[int, int, str], None]  # done, total, note; may raise `Cancelled`


class Cancelled(BaseException):
    """A stop was asked for. A BaseException, so no step catches it by accident."""


class Progress:
    """Callable that records a step's progress; `listen` gets every event (a terminal's bar)."""

    def __init__(
        self, path: Path | None = None, listen: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.path = path
        self.listen = listen
        self.stop = threading.Event()
        self._last = 0.0

    def __call__(self, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        """`done` of `total` units are finished. Raises `Cancelled` after a stop.

        `work` is the share of the work, in [0, 1], where units differ in size.
        """
        if self.stop.is_set():
            raise Cancelled
        now = time.monotonic()
        if done < total and now - self._last < 1 / EVENTS_PER_SECOND:
            return
        self._last = now
        share: dict[str, Any] = {} if work is None else {"work": round(float(work), 6)}
        self.event("progress", done=done, total=total, note=note, **share)

    def event(self, name: str, *, pid: int | None = None, **fields: Any) -> None:
        """Append one event of a process, by default this one."""
        record = {"time": time.time(), "event": name, **fields}
        if self.path is not None:
            record |= describe_process(pid or os.getpid(), self.path.parent)
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
    """All valid events of a run; lines that are cut by a crash or damaged are left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if _is_valid(event):
            events.append(event)
    return events


def latest_attempt(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of a run since it was last queued, or started."""
    starts = [i for i, e in enumerate(events) if e["event"] == "queued"]
    starts = starts or [i for i, e in enumerate(events) if e["event"] == "started"]
    return events[starts[-1] :] if starts else events


def state_of(folder: Path, events: list[dict[str, Any]]) -> State:
    """The state of a run, by its events and processes."""
    if (folder / "output").is_dir():
        return "finished"
    if not events:
        return "absent"
    last = events[-1]
    if last["event"] in ("failed", "cancelled"):
        return last["event"]
    if live_process(last, folder) is None:
        return "failed"
    return "waiting" if last["event"] in ("queued", "spawned", "waiting") else "running"


class Pace:
    """Time that the part of a run under way still needs, from its progress events.

    A part begins where its total changes or its count falls. Its pace is that since its first
    finished unit: what came before, such as loading a model, happens once.
    """

    def __init__(self) -> None:
        self._before: tuple[Any, Any] = (None, 0)
        self._points: list[tuple[float, float]] = []  # time and share: begin, first unit, latest

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event of the run into account, in their order."""
        done, total = event.get("done"), event.get("total")
        if event["event"] != "progress" or not (isinstance(done, int) and isinstance(total, int)):
            return
        if total != self._before[0] or done < self._before[1]:
            self._points = []
        self._before = total, done
        point = event["time"], float(event.get("work", done / total if total else 1.0))
        keep = 2 if len(self._points) > 1 and self._points[1][1] > self._points[0][1] else 1
        self._points = [*self._points[:keep], point]

    @property
    def left(self) -> float | None:
        """Seconds; None before there is a pace."""
        if len(self._points) < 2 or self._points[-1][1] <= self._points[0][1]:
            return None
        (start, first), (now, share) = self._points[len(self._points) - 2], self._points[-1]
        return (1 - share) * (now - start) / (share - first) if share > first else None


def seconds_left(events: Iterable[Mapping[str, Any]]) -> float | None:
    """Time that a run with these events still needs; None before there is a pace."""
    pace = Pace()
    for event in events:
        pace.add(event)
    return pace.left


def _append(path: Path, line: str) -> None:
    """Add a line, after a newline where a full disk cut the last line."""
    with path.open("a+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(end - 1, 0))
        cut = stream.read(1) not in (b"", b"\n")
        stream.write(b"\n" * cut + line.encode() + b"\n")


def _is_valid(event: Any) -> bool:
    types = {"event": str, "time": float, "pid": int}
    return isinstance(event, dict) and all(
        isinstance(event.get(name), type_) for name, type_ in types.items()
    )


def describe_process(pid: int, folder: Path) -> dict[str, Any]:
    """What identifies a live process: `pid`, `born`, `folder`."""
    return {"pid": pid, "born": _born(psutil.Process(pid)), "folder": str(folder.resolve())}


def live_process(event: Mapping[str, Any], folder: Path) -> psutil.Process | None:
    """The process that wrote an event, if it still runs and works in `folder`, not in a copy."""
    if event.get("folder") != str(folder.resolve()) or not isinstance(event.get("born"), float):
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(event["pid"])
        same = abs(_born(process) - event["born"]) < TOLERANCE
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _born(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
