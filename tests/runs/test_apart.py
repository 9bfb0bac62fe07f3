"""A call in another process: results and errors come back, a stop ends it, a death is told."""

import os
import time

import pytest

from core.errors import UserError
from core.runs.apart import worker


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
