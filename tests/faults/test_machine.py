"""When the machine fails under a run, the run ends the same, or says in words what to do.

Short forms run in `make test`; `make faults` (PAIRTRACE_LONG=1) kills every step of a whole
investigation again and again.
"""

import importlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
import torch

from core.errors import UserError, explain
from core.runs.execute import execute
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.recipes import EditSpec
from core.specs.steps import ConvertSpec
from core.workspace import catalog as catalog_module
from core.workspace.catalog import Catalog
from tests.small_organism import small_organism

LONG = os.environ.get("PAIRTRACE_LONG") == "1"
ROWS = 20_000


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A preference set that takes a second to convert."""
    path = tmp_path_factory.mktemp("given") / "pairs.jsonl"
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
    with path.open("w") as file:
        for i in range(ROWS):
            text = " ".join(words[(i + k) % 9] for k in range(20))
            row = {"uid": f"u{i}", "prompt": text, "chosen": f"yes {i}", "rejected": f"no {i}"}
            file.write(json.dumps(row | {"source": f"s{i % 7}"}) + "\n")
    return path


def convert(workspace, path, limit=None) -> None:
    """One attempt in a process of its own, optionally with a limit on the size of files."""
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    execute(ConvertSpec(pairs=str(path)), Store(workspace))


def edit(workspace, spec, more) -> None:
    """One attempt in a process that may take `more` bytes of memory than it has when it begins."""
    importlib.import_module("core.steps.edit")
    most = psutil.Process().memory_info().vms + more
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    execute(spec, Store(workspace))


def start(*given, target=convert, way="forkserver") -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context(way).Process(target=target, args=given)
    process.start()
    return process


@pytest.mark.skipif(not LONG, reason="make faults")
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(tmp_path, given):
    calm, store = Store(tmp_path / "calm"), Store(tmp_path / "killed")
    spec, chance = ConvertSpec(pairs=str(given)), random.Random(0)
    expected = calm.output(execute(spec, calm)) / "pairs.parquet"
    run = store.run_id(spec)
    for _ in range(20):
        process = start(store.workspace, given)
        while store.state(run) != "running" and process.is_alive():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.join()
        assert store.state(run) in ("failed", "finished")
    assert (store.output(execute(spec, store)) / "pairs.parquet").read_bytes() == (
        expected.read_bytes()
    )
    assert not list(store.folder(run).glob("output.part"))


def test_a_disk_that_takes_no_more_is_told_and_a_second_try_works(tmp_path, given):
    store, spec = Store(tmp_path / "workspace"), ConvertSpec(pairs=str(given))
    process = start(store.workspace, given, 60_000)
    process.join()
    run = store.run_id(spec)
    assert store.state(run) == "failed"
    assert "Raise the limit, then run the same command again" in store.info(run).error
    assert len(pd.read_parquet(store.output(execute(spec, store)) / "pairs.parquet")) == ROWS


def test_want_of_memory_is_told_and_a_second_try_works(tmp_path, given):
    recipe = {"kind": "where", "column": "source", "values": ["s1"]}
    spec = EditSpec(pairs=str(given), edits=[{"action": "remove", "recipe": recipe}])
    store = Store(tmp_path / "workspace")
    process = start(store.workspace, spec, 1 << 24, target=edit, way="spawn")  # none to spare
    process.join()
    run = store.run_id(spec)
    assert store.state(run) == "failed"
    assert store.info(run).error.startswith("There is not enough memory. Close other programs")
    kept = pd.read_parquet(store.output(execute(spec, store)) / "pairs.parquet")
    assert len(kept) == ROWS - len(range(1, ROWS, 7))


WANTING = {
    "torch": lambda: torch.empty(1 << 50),
    "numpy": lambda: np.empty(1 << 50),
    "pyarrow": lambda: pa.allocate_buffer(1 << 50),
}


@pytest.mark.parametrize("library", WANTING)
def test_every_library_s_want_of_memory_is_known(library):
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        WANTING[library]()
    assert "not enough memory" in str(explain(caught.value))


@pytest.mark.skipif(os.access("/sys", os.W_OK) and not os.path.ismount("/sys"), reason="no sysfs")
@pytest.mark.parametrize("words", [["init"], ["runs", "list"], ["index"]])
def test_a_workspace_that_cannot_be_written_is_told_without_a_traceback(words):
    command = [sys.executable, "-m", "core.cli.main", "-w", "/sys/pairtrace", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if words == ["runs", "list"] else 2)


def test_a_clock_that_jumped_does_not_end_a_run_or_start_it_twice(tmp_path):
    """An hour forward, an hour back, in what a run reported last and before that."""
    store = Store(tmp_path)
    run = "index-0123456789abcdef"
    store.folder(run).mkdir(parents=True)
    progress = Progress(store.folder(run) / "progress.jsonl")
    for shift in (3_600, -3_600):
        progress.event("started")
        event = store.events(run)[-1] | {"time": time.time() + shift}
        with (store.folder(run) / "progress.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")
        assert store.state(run) == "running"
        progress.event("progress", done=1, total=10, note="going on")
        assert store.state(run) == "running"
        assert store.info(run).done == 1


def test_a_catalog_that_somebody_holds_is_waited_for_then_told(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_module, "BUSY_SECONDS", 0.3)
    Catalog(tmp_path).rename("discover-0123456789abcdef", 1, "kept", who="ana")
    holder = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserError, match="locked"):
        Catalog(tmp_path).rename("discover-0123456789abcdef", 1, "lost?", who="bo")
    assert len(Catalog(tmp_path).events()) == 1
    holder.execute("ROLLBACK")
    holder.close()
    Catalog(tmp_path).rename("discover-0123456789abcdef", 1, "after", who="bo")
    assert [event.change.name for event in Catalog(tmp_path).events()] == ["kept", "after"]


@pytest.mark.skipif(not LONG, reason="make faults")
@pytest.mark.timeout(7200)
def test_every_step_of_an_investigation_survives_being_killed(tmp_path, record_property):
    """SIGKILL soon after each run of the demo has begun; it ends as a calm one does."""
    calm, store = small_organism(_made(tmp_path / "calm")), small_organism(_made(tmp_path / "k"))
    chance, killed = random.Random(0), []
    subprocess.run(_demo(calm), check=True, capture_output=True)
    while True:
        process = subprocess.Popen(
            _demo(store), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        fresh = []
        while process.poll() is None and not fresh:
            time.sleep(0.001)  # a ranking is done after some ten milliseconds
            began = [path.name for path in store.runs.glob("*-*") if path.name not in killed]
            fresh = [run for run in began if store.state(run) == "running"]
        if not fresh:
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()[-2000:]
            break
        killed += fresh
        time.sleep(chance.uniform(0, 2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    record_property("killed", f"{killed}")
    assert {run.partition("-")[0] for run in killed} >= {
        *("generate", "index", "rank", "discover", "train", "evaluate")
    }
    for info in calm.infos(state="finished"):
        for path in sorted(calm.output(info.id).rglob("*.parquet")):
            other = store.output(info.id) / path.relative_to(calm.output(info.id))
            pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(other))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _demo(store: Store) -> list[str]:
    words = ["-w", str(store.workspace), "demo", "--headless", "--json"]
    return [sys.executable, "-m", "core.cli.main", *words]


def test_a_half_written_output_is_never_taken_for_a_whole_one(tmp_path, given):
    store, spec = Store(tmp_path), ConvertSpec(pairs=str(given))
    run = execute(spec, store)
    folder = store.folder(run)
    shutil.move(folder / "output", folder / "output.part")
    (folder / "output.part" / "pairs.parquet").write_bytes(b"half")
    assert store.state(run) != "finished"
    assert len(pd.read_parquet(store.output(execute(spec, store)) / "pairs.parquet")) == ROWS
