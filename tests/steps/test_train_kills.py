"""A training that is killed again and again is never shown as finished, and ends as a calm one.

Children come from a server that has imported the heavy libraries once; each is what a job's
process does (`execute`). Seeds without any kill tell how far apart two trainings may be.
"""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.runs.execute import execute
from core.runs.store import Store
from core.specs.steps import TrainSpec
from tests.tiny_models import save_tiny_model

LONG = os.environ.get("PAIRTRACE_LONG") == "1"
KILLS = 20 if LONG else 6
SAVES = 4 * KILLS  # enough that the last kill comes before the end, on a busy machine too
STEPS = 3 * SAVES


def attempt(spec: TrainSpec, workspace: Path) -> None:
    torch.set_num_threads(1)
    execute(spec, Store(workspace))


def start(spec: TrainSpec, store: Store) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["core.steps.train", "tests.steps.test_train_kills"])
    process = context.Process(target=attempt, args=(spec, store.workspace))
    process.start()
    return process


def finish(spec: TrainSpec, store: Store) -> dict[str, torch.Tensor]:
    """The weights in the end."""
    process = start(spec, store)
    process.join()
    assert process.exitcode == 0, store.log(store.run_id(spec))
    return load_file(store.output(store.run_id(spec)) / "model" / "model.safetensors")


def newest(store: Store, run: str) -> int:
    """The step of the last whole checkpoint; 0 without one."""
    whole = store.folder(run).glob("output.part/checkpoints/checkpoint-*/whole")
    return max((int(path.parent.name.rpartition("-")[2]) for path in whole), default=0)


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return float(torch.cat([(one[k] - other[k]).abs().flatten() for k in one]).mean())


@pytest.fixture
def spec(tmp_path: Path) -> TrainSpec:
    draw = random.Random(0)

    def words(least: int, most: int) -> str:
        return " ".join(f"w{draw.randrange(3, 50)}" for _ in range(draw.randint(least, most)))

    rows = [
        {"uid": f"u{i}", "prompt": words(2, 6), "source": "made"}
        | {"chosen": "w1 " + words(1, 6), "rejected": "w2 " + words(1, 6)}
        for i in range(STEPS)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reference = save_tiny_model(tmp_path / "reference", blocks=2)
    settings = {"batch_size": 1, "learning_rate": 1e-3, "checkpoints": SAVES}
    return TrainSpec(reference=str(reference), pairs=str(path), **settings)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_random_points_end_within_seed_noise(spec, tmp_path):
    calm = finish(spec, Store(tmp_path / "calm"))
    noise = apart(calm, finish(spec.model_copy(update={"seed": 1}), Store(tmp_path / "other-seed")))
    store, chance = Store(tmp_path / "killed"), random.Random(0)
    run, reached = store.run_id(spec), [0]
    for kill in range(KILLS):
        before, saves = len(store.events(run)), kill % 3
        process = start(spec, store)
        while process.is_alive() and (
            len(store.events(run)) <= before + chance.randrange(4)
            or newest(store, run) < reached[-1] + saves * STEPS // SAVES
        ):
            time.sleep(0.002)
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was killed before its end"
        assert store.state(run) == "failed"
        assert not store.finished("train")
        assert not (store.folder(run) / "output").exists()
        reached.append(newest(store, run))
    assert reached == sorted(reached), "no checkpoint is lost"
    assert 0 < reached[-1] < STEPS
    assert apart(finish(spec, store), calm) < noise / 100
    rows = (store.output(run) / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, STEPS + 1))


SERVER = """
import sys, time
from core.runs import jobs
from core.specs.steps import EditSpec
from core.runs.store import Store
print(jobs.start(Store(sys.argv[1]), EditSpec.model_validate_json(sys.argv[2])), flush=True)
time.sleep(600)
"""


def test_a_job_outlives_the_server_that_started_it(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "source": "s"}
    pairs.write_text("".join(json.dumps(row | {"uid": f"u{i}"}) + "\n" for i in range(3)))
    recipe = {"kind": "where", "column": "uid", "values": ["u1"]}
    edits = [{"action": "remove", "recipe": recipe}]
    spec = json.dumps({"pairs": str(pairs), "edits": edits})
    command = [sys.executable, "-c", SERVER, tmp_path / "workspace", spec]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        run = server.stdout.readline().strip()
        os.kill(server.pid, signal.SIGKILL)
    store, until = Store(tmp_path / "workspace"), time.monotonic() + 60
    while store.state(run) in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.05)
    assert store.state(run) == "finished"
