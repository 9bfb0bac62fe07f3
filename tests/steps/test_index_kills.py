"""An index that is killed again and again loses a shard's work at most, and ends in the same bytes.

Children come from a server that has imported the heavy libraries once.
"""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from core.attribution.index import plan
from core.attribution.index.layout import checksum
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import IndexSpec
from tests.attribution.index.test_layout import random_pairs
from tests.tiny_models import save_tiny_model

KILLS = 20 if os.environ.get("PAIRTRACE_LONG") == "1" else 6


def build(spec: IndexSpec, store: Store, output: Path) -> None:
    """One attempt, in a process of its own, with shards of about ten pairs."""
    from core.steps import index

    plan.SHARD_TOKENS = (200, 200)
    index.run(spec, store=store, output=output, progress=Progress())


def start(spec: IndexSpec, store: Store, output: Path) -> multiprocessing.process.BaseProcess:
    output.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["core.steps.index", "tests.steps.test_index_kills"])
    process = context.Process(target=build, args=(spec, store, output))
    process.start()
    return process


def written(output: Path) -> dict[Path, int]:
    """The shards that are whole, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in output.glob("shards/*.json")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_lose_a_shard_each_at_most(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    random_pairs(600).to_json(pairs, orient="records", lines=True)
    spec = IndexSpec(model=str(save_tiny_model(tmp_path / "model")), pairs=str(pairs), layers=(3,))
    store, chance = Store(tmp_path), random.Random(0)

    calm = start(spec, store, tmp_path / "calm")
    calm.join()
    assert calm.exitcode == 0

    output, done, killed = tmp_path / "killed", {}, 0
    while killed < KILLS:
        process = start(spec, store, output)
        enough = len(done) + chance.choice([0, 1, 1, 2])
        while len(written(output)) < enough and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.random() * 0.01)
        process.kill()
        process.join()
        assert process.exitcode == -9
        killed += 1
        now = written(output)
        assert done.items() <= now.items(), "what was done is not done again"
        done = now
    assert 0 < len(done) < len(written(tmp_path / "calm"))

    last = start(spec, store, output)
    last.join()
    assert last.exitcode == 0
    assert done.items() <= written(output).items()
    assert checksum(output) == checksum(tmp_path / "calm")
    assert not list(output.rglob("*.part"))
