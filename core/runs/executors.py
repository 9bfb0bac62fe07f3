"""Where independent tasks are computed: in this process, in others, or on a Ray cluster.

A worker is made once per process, `make()`, and then called with one task after another,
`worker(task, tick)`. Tasks and results are small; what is large lies in files that the worker
writes itself. Every executor yields results as they come, in any order, and gives a lost worker's
task to another, so a worker must leave a task undone or done, never half.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Worker = Callable[[Any, Callable[[int], None]], Any]


class Executor(Protocol):
    """Runs tasks and yields their results."""

    def __call__(
        self, make: Callable[[], Worker], tasks: Sequence[Any], tick: Callable[[int], None]
    ) -> Iterator[Any]: ...


def inline(
    make: Callable[[], Worker], tasks: Sequence[Any], tick: Callable[[int], None]
) -> Iterator[Any]:
    """One after another, here; `tick` sees how far each task is."""
    if tasks:
        worker = make()
        for task in tasks:
            yield worker(task, tick)
