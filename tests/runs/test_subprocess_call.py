"""A call in another process: results and errors come back, a stop ends it, a death is told."""

import multiprocessing
import os
import time

import psutil
import pytest

from core.errors import UserError
from core.runs.subprocess_call import worker
from core.runs.workers import Processes


def silently(note):
    """Nobody wants anything."""


def test_results_and_errors_come_back_and_the_process_stays():
    with worker(silently) as call:
        first = call("asking", os.getpid)
        assert first != os.getpid()
        with pytest.raises(ZeroDivisionError):
            call("dividing", divmod, 1, 0)
        assert call("asking", os.getpid) == first
        with pytest.raises(UserError, match=r"dying: its process died \(exit code 3"):
            call("dying", os._exit, 3)


class StopError(Exception):
    """Somebody wants it to end."""


def test_a_call_tells_how_long_it_takes_and_can_be_stopped():
    told = []

    def beat(note):
        told.append(note)
        if len(told) == 2:
            raise StopError

    start = time.monotonic()
    with pytest.raises(StopError), worker(beat) as call:
        call("sleeping", time.sleep, 600)
    assert time.monotonic() - start < 300
    assert told[0].startswith("sleeping, ")


def sleep_apart():
    with worker(silently) as call:
        call("sleeping", time.sleep, 600)


def sleep_in_workers():
    list(Processes(2)(make_sleeper, [600, 600], lambda _: None))


def make_sleeper():
    return lambda seconds, _tick: time.sleep(seconds)


@pytest.mark.parametrize("work", [sleep_apart, sleep_in_workers])
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
    """The workers of a process that have begun: each watches it in a thread of its own."""
    return [one for one in psutil.Process(pid).children() if one.num_threads() > 1]
