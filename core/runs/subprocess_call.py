"""Blocking calls in a process of their own, while this one tells progress and can be stopped.

UMAP and HDBSCAN run for minutes inside compiled code that neither reports nor hears a signal. A
call is a function of a module with arguments that can be pickled; between its start and its end
`beat` is called twice a second, and whatever `beat` raises (a wish to stop) ends the process.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from core.errors import UserError

PAUSE = 0.5  # seconds between two beats


class Call(Protocol):
    """Calls `function(*args, **knobs)` somewhere; `note` says what takes the time."""

    def __call__(
        self, note: str, function: Callable[..., Any], *args: Any, **knobs: Any
    ) -> Any: ...


def here(note: str, function: Callable[..., Any], *args: Any, **knobs: Any) -> Any:
    """In this process, silently: for what is small."""
    return function(*args, **knobs)


@contextmanager
def worker(beat: Callable[[str], None]) -> Iterator[Call]:
    """A `Call` into one other process, which lives as long as the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()

    def call(note: str, function: Callable[..., Any], *args: Any, **knobs: Any) -> Any:
        start = time.monotonic()
        ours.send((function, args, knobs))
        while not ours.poll(PAUSE):
            beat(f"{note}, {time.monotonic() - start:.0f} s")
            if not process.is_alive() and not ours.poll(0):
                raise _lost(note, process.exitcode)
        try:
            good, result = ours.recv()
        except EOFError:
            beat(note)  # a stop that reached the worker first is a stop, not a loss
            process.join()
            raise _lost(note, process.exitcode) from None
        if not good:
            raise result
        return result

    try:
        yield call
    finally:
        ours.close()
        process.terminate()
        process.join()


def _lost(note: str, code: int | None) -> UserError:
    return UserError(
        f"{note}: its process died (exit code {code}; -9 is usually out of memory). Lay out fewer "
        "pairs, or use a machine with more memory."
    )


def end_with_parent() -> None:
    """Let this process end when the one that started it does, even by SIGKILL.

    Compiled code and queues do not notice: a killed step would leave its workers, and the memory
    that they hold, until they are done or for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only for processes that multiprocessing started"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _serve(connection: Any) -> None:
    """Compute what is sent until the other side is gone."""
    end_with_parent()
    while True:
        try:
            function, args, knobs = connection.recv()
        except EOFError:
            return
        try:
            answer = (True, function(*args, **knobs))
        except Exception as error:  # noqa: BLE001  it is raised again where the call was made
            answer = (False, error)
        connection.send(answer)
