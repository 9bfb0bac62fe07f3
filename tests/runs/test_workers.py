"""Executors give the same results, whatever happens to their workers."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from core.errors import UserError
from core.runs.workers import Inline, Processes, Ray, pick


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
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does for want of memory
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


def test_a_worker_is_not_made_where_nothing_is_to_do() -> None:
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
    with pytest.raises(TypeError):
        list(Processes(1)(Squares, ["text"], lambda _: None))


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
