"""Time left, from runs like these and from a run's own pace."""

import pytest

from core.runs.forecast import forecast, left
from core.runs.store import RunInfo

TYPICAL = {"train": 60.0}


def info(state: str, *, step: str = "train", seconds: float = 0, done: int = 0) -> RunInfo:
    run = f"{step}-0123456789abcdef"
    return RunInfo(run, step, state, 0.0, seconds, done, 10 if done else 0, "", "")


@pytest.mark.parametrize(
    ("infos", "seconds", "unknown"),
    [
        ([info("waiting"), info("waiting")], 120, ()),
        ([info("running", seconds=20)], 40, ()),
        ([info("running", seconds=30, done=3)], 70, ()),
        ([info("finished", seconds=99), info("failed")], 0, ()),
        ([info("waiting", step="evaluate"), info("absent")], 60, ("evaluate",)),
    ],
)
def test_what_is_left_is_extrapolated_or_what_such_runs_took(infos, seconds, unknown):
    assert left(infos, TYPICAL) == (seconds, unknown)


def test_a_forecast_names_steps_that_never_ran():
    assert forecast(["train", "train", "evaluate"], TYPICAL) == (120, ("evaluate",))
