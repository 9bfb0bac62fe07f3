"""SIGKILL in every kind of step, wherever it strikes: the next attempt ends in the same files.

A step changes the disk when it opens a file to write, renames, deletes. Each such moment can be an
attempt's last: just before the change or, for every other file that is opened, just after, which
leaves it empty. Attempts are processes of their own, from a server that has the libraries loaded.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from core.runs.execute import execute
from core.runs.store import Store
from core.specs.base import Spec
from core.specs.steps import STEPS
from core.workspace.catalog import Catalog

pytestmark = pytest.mark.slow

LONG = os.environ.get("PAIRTRACE_LONG") == "1"
KILLS = 12 if LONG else 2
LAST = 5  # moments around publishing
PROGRESS = "progress.jsonl"  # is written as time passes: a slow machine would count more moments
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "sqlite3.connect")
OF_THIS_ATTEMPT = ("train_seconds", "tokens_per_second", "memory_bytes", "usage", "judging")
MARK = "PAIRTRACE_FAULTS_ATTEMPT"
ORPHANS = 20  # seconds until a killed step's own processes must be gone


class Killer:
    """Counts the changes that this process makes to the disk, and kills it at one of them."""

    def __init__(self, workspace: Path, moment: int) -> None:
        self.workspace, self.moment, self.seen = str(workspace), moment, 0

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        opens = event == "open" and self._writes(*given)
        if not opens and event not in CHANGES:
            return
        self.seen += 1
        if self.seen == self.moment:
            if opens and self.moment % 2:
                os.close(os.open(given[0], given[2], 0o644))
            os.kill(os.getpid(), signal.SIGKILL)

    def _writes(self, path: Any, _mode: Any, flags: int) -> bool:
        inside = str(path).startswith(self.workspace) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        return inside and Path(str(path)).name != PROGRESS


def attempt(spec: Spec, workspace: Path, moment: int, counted: Path) -> None:
    """Run a spec, to be killed at a moment; 0 is none. Writes down how many there were."""
    os.environ[MARK] = str(counted)  # its own processes inherit it
    killer = Killer(workspace, moment)
    sys.addaudithook(killer)
    execute(spec, Store(workspace))
    counted.write_text(str(killer.seen))


def run(spec: Spec, workspace: Path, moment: int, counted: Path) -> int:
    """The exit code of one attempt, whose own processes ended with it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"core.steps.{s}" for s in STEPS] + ["tests.faults.test_kills"])
    process = context.Process(target=attempt, args=(spec, workspace, moment, counted))
    process.start()
    process.join()
    deadline = time.monotonic() + ORPHANS
    while left := [one for one in psutil.process_iter() if _mark(one) == str(counted)]:
        assert time.monotonic() < deadline, f"{spec.step} left {left} behind"
        time.sleep(0.05)
    return process.exitcode


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("name", [*STEPS, "sample"])
def test_a_killed_step_ends_as_an_undisturbed_one(calm, name, tmp_path):
    expected, specs, moments = calm
    spec, chance, last = specs[name], random.Random(name), moments[name]
    id_ = expected.run_id(spec)
    store = Store(shutil.copytree(expected.workspace, tmp_path / "killed"))
    shutil.rmtree(store.folder(id_))
    shutil.rmtree(store.workspace / "cache", ignore_errors=True)
    anywhere = [chance.randint(1, last - LAST) for _ in range(KILLS - 1)]
    killed = 0
    for moment in [*sorted(anywhere), last - chance.randrange(LAST)]:
        code = run(spec, store.workspace, moment, tmp_path / "moments")
        killed += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL), store.info(id_).error
        assert store.state(id_) in ("failed", "absent", "finished")
        if store.state(id_) == "finished":
            break
    assert killed
    assert run(spec, store.workspace, 0, tmp_path / "moments") == 0, store.info(id_).error
    assert_same(store.output(id_), expected.output(id_))
    assert not (store.folder(id_) / "output.part").exists()


def assert_same(one: Path, other: Path) -> None:
    """Same files; same bytes, but for times and for weights that were trained from a checkpoint."""
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert files == {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    for file in sorted(files):
        if file.suffix == ".safetensors":
            weights, wanted = load_file(one / file), load_file(other / file)
            for key in wanted:
                np.testing.assert_allclose(weights[key], wanted[key], atol=1e-5, err_msg=key)
        elif file.suffix in (".json", ".jsonl"):
            assert _timeless(one / file) == _timeless(other / file), file
        else:
            assert (one / file).read_bytes() == (other / file).read_bytes(), file


def _timeless(path: Path) -> list[Any]:
    text = path.read_text()
    records = [json.loads(text)] if path.suffix == ".json" else map(json.loads, text.splitlines())
    return [
        {key: value for key, value in record.items() if key not in OF_THIS_ATTEMPT}
        for record in records
    ]


MAKE_CATALOG = """
import os, signal, sqlite3, sys
from pathlib import Path
from core.workspace.catalog import Catalog
seen = 0

def moment(*_):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

def traced(*given, **named):
    connection = connect(*given, **named)
    connection.set_trace_callback(moment)
    moment()
    return connection

connect, sqlite3.connect = sqlite3.connect, traced
sys.addaudithook(lambda event, _: moment() if event == "os.rename" else None)
Catalog(Path(sys.argv[1]))
"""


def test_a_catalog_whose_first_maker_was_killed_is_made_by_the_next_one(tmp_path):
    kills, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        folder = tmp_path / str(kills)
        command = [sys.executable, "-c", MAKE_CATALOG, str(folder), str(kills + 1)]
        code = subprocess.run(command, check=False).returncode
        Catalog(folder).rename("discover-0123456789abcdef", 1, "kept", who="ana")
        assert len(Catalog(folder).events()) == 1
        assert {path.name for path in folder.iterdir()} <= {"catalog.sqlite", "catalog.sqlite.lock"}
        kills += 1
    assert code == 0
    assert kills > 5
