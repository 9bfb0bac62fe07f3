"""An index by the processes of one launch, as torchrun starts them: no Ray, no process group."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.attribution.index.layout import VectorIndex, checksum, verify
from core.attribution.similarity import mean_context
from core.errors import UserError
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.steps import IndexSpec
from tests.attribution.index.test_layout import random_pairs
from tests.tiny_models import save_tiny_model

DEPLOY = Path(__file__).parents[2] / "deploy"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> IndexSpec:
    """An index of several shards."""
    folder = tmp_path_factory.mktemp("inputs")
    random_pairs(2000).to_json(folder / "pairs.jsonl", orient="records", lines=True)
    model = save_tiny_model(folder / "model")
    return IndexSpec(model=str(model), pairs=str(folder / "pairs.jsonl"), layers=(1, 3))


@pytest.fixture(scope="module")
def expected(spec: IndexSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index that this process makes."""
    store = Store(tmp_path_factory.mktemp("alone"))
    return store.output(execute(spec, store))


def launch(spec: IndexSpec, workspace: Path) -> subprocess.Popen[str]:
    words = ["-w", str(workspace), "index", "--model", spec.model, "--pairs", spec.pairs]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [sys.executable, *torchrun, "-m", "core.cli.main", *words, "--layers", "[1, 3]", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def writers(output: Path) -> int:
    return len({path.name.split("-")[0] for path in output.glob("shards/*.json")})


def test_two_processes_end_in_the_same_bytes_also_after_a_kill_and_damage(
    spec: IndexSpec, expected: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "workspace")
    run = store.run_id(spec)
    assert run == expected.parent.name
    killed = launch(spec, store.workspace)
    part = store.folder(run) / "output.part"
    while writers(part) < 2 and killed.poll() is None:
        time.sleep(0.05)
    family = [*psutil.Process(killed.pid).children(recursive=True), killed]
    for process in family:
        process.kill()
    killed.communicate()
    assert store.state(run) == "failed"
    kept = {path: path.stat().st_mtime_ns for path in sorted(part.glob("shards/*.npy"))}
    last = list(kept)[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"x")  # a shard of whichever process

    again = launch(spec, store.workspace)
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    (reported,) = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert reported["run"] == run  # one process reports
    output = store.output(run)
    assert checksum(output) == checksum(expected)
    assert verify(output).empty
    for path, written in list(kept.items())[:-1]:
        assert (output / "shards" / path.name).stat().st_mtime_ns == written
    one, other = VectorIndex.open(output), VectorIndex.open(expected)
    assert mean_context(one, 3).tolist() == mean_context(other, 3).tolist()


def test_a_launch_with_an_executor_of_its_own_is_refused(
    spec: IndexSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("PAIRTRACE_EXECUTOR", "process:2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="a launch has 2 processes: use one of the two"):
        execute(spec, Store(tmp_path))


def test_the_slurm_script_gives_each_task_its_number_and_passes_the_words_on(
    tmp_path: Path,
) -> None:
    """`srun` and `pairtrace` stand in: two tasks, as Slurm numbers them."""
    srun = 'shift; for n in 0 1; do SLURM_PROCID=$n SLURM_NTASKS=2 SLURM_LOCALID=$n "$@"; done'
    printed = 'printf "%s|" "$RANK/$WORLD_SIZE/$LOCAL_RANK" "$@"; echo'
    for name, script in (("srun", srun), ("pairtrace", printed)):
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", DEPLOY / "index.slurm", "index", "--layers", "[1, 3]"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PAIRTRACE_WORKSPACE": "/a b"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = "--workspace|/a b|index|--layers|[1, 3]|"
    assert done.stdout.splitlines() == [f"0/2/0|{words}", f"1/2/1|{words}"]
