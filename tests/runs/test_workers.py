"""Executors and child processes give the same results, whatever happens to their workers."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from core.errors import UserError
from core.runs.workers import Inline, Processes, Ray, child_process, pick


class Squares:
    """A worker that dies once, at one task, if a folder for its mark is given."""

    def __init__(self, marks: Path | None = None, dies_at: int = -1) -> None:
        self.marks, self.dies_at = marks, dies_at

    def __call__(self, task: int, tick: Callable[[int], None]) -> int:
        tick(1)
        if task == self.dies_at and self.marks is not None:
            mark = self.marks / "died"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when it is out of memory
        return task * task


def always_dies(_task: int, _tick: Callable[[int], None]) -> int:
    os.kill(os.getpid(), signal.SIGKILL)


def make_dying() -> Callable[[int, Callable[[int], None]], int]:
    return always_dies


EXPECTED = [i * i for i in range(12)]


@pytest.mark.parametrize("executor", [Inline(), Processes(2)])
def test_every_task_has_one_result(executor: Inline | Processes) -> None:
    assert sorted(executor(Squares, range(12), lambda _: None)) == EXPECTED


def test_inline_shows_progress_within_tasks() -> None:
    seen: list[int] = []
    list(Inline()(Squares, range(3), seen.append))
    assert seen == [1, 1, 1]


def test_a_worker_is_not_made_for_no_tasks() -> None:
    def never() -> Squares:
        raise AssertionError("made")

    assert list(Inline()(never, [], lambda _: None)) == []
    assert list(Processes(2)(never, [], lambda _: None)) == []


def test_the_task_of_a_lost_process_is_done_by_another(tmp_path: Path) -> None:
    make = partial(Squares, tmp_path, 5)
    assert sorted(Processes(2)(make, range(12), lambda _: None)) == EXPECTED
    assert (tmp_path / "died").exists()


def test_a_task_that_kills_every_worker_ends_in_an_error() -> None:
    with pytest.raises(UserError, match="workers died"):
        list(Processes(2)(make_dying, range(3), lambda _: None))


def test_an_error_in_a_worker_is_the_caller_s() -> None:
    with pytest.raises(TypeError) as caught:
        list(Processes(1)(Squares, ["text"], lambda _: None))
    assert "task * task" in caught.value.__notes__[0]  # the worker's traceback


def never_made() -> Squares:
    raise LookupError("no such model")


def test_an_error_in_making_a_worker_is_the_caller_s() -> None:
    with pytest.raises(LookupError, match="no such model"):
        list(Processes(2)(never_made, [1, 2], lambda _: None))


def test_a_stop_ends_tasks_that_are_under_way() -> None:
    def stop(_done: int) -> None:
        raise StopError

    start = time.monotonic()
    with pytest.raises(StopError):
        list(Processes(2)(make_sleeper, [600, 600], stop))
    assert time.monotonic() - start < 300


@pytest.mark.parametrize(
    ("name", "executor"),
    [("inline", Inline()), ("process:2", Processes(2)), ("ray:4", Ray(4))],
)
def test_an_executor_is_picked_by_name(name: str, executor: object) -> None:
    assert pick(name) == executor


@pytest.mark.parametrize("name", ["", "threads", "process", "process:0", "ray:x", "inline:2"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="process:N"):
        pick(name)


def silently(note: str) -> None:
    """A heartbeat that never stops the call."""


def test_results_and_errors_come_back_and_the_process_stays():
    with child_process(silently) as call:
        first = call("asking", os.getpid)
        assert first != os.getpid()
        with pytest.raises(ZeroDivisionError):
            call("dividing", divmod, 1, 0)
        assert call("asking", os.getpid) == first
        with pytest.raises(UserError, match=r"dying: its process died \(exit code 3"):
            call("dying", os._exit, 3)


class StopError(Exception):
    """Asks the call to stop."""


def test_a_call_reports_how_long_it_takes_and_can_be_stopped():
    notes = []

    def beat(note):
        notes.append(note)
        if len(notes) == 2:
            raise StopError

    start = time.monotonic()
    with pytest.raises(StopError), child_process(beat) as call:
        call("sleeping", time.sleep, 600)
    assert time.monotonic() - start < 300
    assert notes[0].startswith("sleeping, ")


def sleep_in_a_child():
    with child_process(silently) as call:
        call("sleeping", time.sleep, 600)


def sleep_in_workers():
    list(Processes(2)(make_sleeper, [600, 600], lambda _: None))


def make_sleeper():
    return lambda seconds, _tick: time.sleep(seconds)


@pytest.mark.parametrize("work", [sleep_in_a_child, sleep_in_workers])
def test_a_killed_process_leaves_no_worker_behind(work):
    process = multiprocessing.get_context("spawn").Process(target=work)
    process.start()
    deadline = time.monotonic() + 60
    while not (workers := watching(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.join()
    assert not psutil.wait_procs(workers, timeout=20)[1]


def watching(pid):
    """The workers of a process that have begun: each watches its parent in a thread."""
    return [child for child in psutil.Process(pid).children() if child.num_threads() > 1]
