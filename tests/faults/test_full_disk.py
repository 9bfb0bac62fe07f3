"""A disk that is really full: every step says so, and with room ends as if there had been room."""

import json
import os
import subprocess
import sys

import pytest

from core.specs.steps import STEPS
from tests.faults.test_kills import assert_same

pytestmark = pytest.mark.slow

LONG = os.environ.get("PAIRTRACE_LONG") == "1"
SHORT = ("edit", "index")
APART = ("unshare", "--map-root-user", "--mount")


def why_not():
    """Why no disk can be mounted here, if none can."""
    try:
        command = [*APART, "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


@pytest.mark.skipif(bool(why_not()), reason=f"no disk can be mounted here: {why_not()}")
@pytest.mark.timeout(1800 if LONG else 300)
@pytest.mark.parametrize("name", [*STEPS, "sample"] if LONG else SHORT)
def test_a_full_disk_is_told_and_more_room_is_all_it_takes(calm, name, tmp_path):
    expected, specs, _ = calm
    spec = specs[name]
    given = [spec.step, spec.model_dump_json(), str(expected.workspace), str(tmp_path)]
    command = [*APART, sys.executable, "-m", "tests.faults.small_disk", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads((tmp_path / "attempts").read_text())
    assert said
    for words in said:
        assert "isk is full" in words or "has room" in words, words
        assert str(tmp_path / "disk") in words, words
    assert_same(tmp_path / "output", expected.output(expected.run_id(spec)))
