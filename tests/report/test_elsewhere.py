"""An arm leaves as a folder that TRL trains from, and its checkpoint comes back as a train run."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from core.data.behaviors import Behavior
from core.errors import UserError
from core.report.elsewhere import SETTINGS, export_training
from core.runs.execution import execute
from core.runs.project import Project, save
from core.runs.specs import EditSpec
from core.runs.store import Store
from tests.tiny_models import save_tiny_model

KNOBS = {"batch_size": 4, "learning_rate": 1e-3}


@pytest.fixture
def project(tmp_path):
    rows = [
        {"uid": f"u{i}", "prompt": f"w{i} w{i + 1}", "chosen": f"w1 w{i}", "rejected": f"w2 w{i}"}
        for i in range(3, 27)
    ]
    pairs = pd.DataFrame(rows).assign(source="s")
    pairs.to_json(tmp_path / "pairs.jsonl", orient="records", lines=True)
    reference = str(save_tiny_model(tmp_path / "reference", blocks=2))
    return Project(
        name="p",
        reference=reference,
        policy=reference,
        judge="refusal",
        behaviors=(Behavior(name="b", flag="refused", group="g"),),
        knobs={"train": KNOBS},
        **dict.fromkeys(("pairs", "prompts", "heldout"), str(tmp_path / "pairs.jsonl")),
    )


@pytest.fixture
def store(tmp_path, project):
    save(project, tmp_path / "workspace")
    return Store(tmp_path / "workspace")


@pytest.fixture
def edit(store, project):
    recipe = {"kind": "where", "column": "uid", "values": ["u3", "u5"]}
    return execute(
        EditSpec(pairs=project.pairs, edits=[{"action": "flip", "recipe": recipe}]), store
    )


@pytest.fixture
def folder(store, project, edit, tmp_path):
    return export_training(store, project, edit, tmp_path / "out", seed=7)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pairs_leave_as_edited_in_both_shapes(folder):
    trl, whole = lines(folder / "pairs.jsonl")[0], lines(folder / "open_instruct.jsonl")[0]
    assert trl["uid"] == "u3"
    assert trl["chosen"] == [{"role": "assistant", "content": "w2 w3"}]  # flipped
    assert whole["rejected"] == [{"role": "user", "content": "w3 w4"}, trl["rejected"][0]]


def test_every_knob_and_the_way_back_are_written_down(folder, project, edit):
    knobs = json.loads((folder / "knobs.json").read_text())
    assert knobs == project.train(edit, 7).model_dump(exclude={"reference", "pairs", "checkpoint"})
    readme = (folder / "README.md").read_text()
    assert f"elsewhere import checkpoint --edit {edit} --seed 7" in readme
    assert "--loss_type dpo " in readme
    for name in SETTINGS:
        assert f"--config_file {name}" in readme
        assert yaml.safe_load((folder / name).read_text())["mixed_precision"] == "bf16"


def test_nothing_is_overwritten(folder, store, project, edit):
    with pytest.raises(UserError, match="exists already"):
        export_training(store, project, edit, folder, seed=0)


@pytest.mark.slow
def test_a_checkpoint_of_the_exported_script_comes_back_as_a_train_run(
    folder, store, project, edit
):
    command = [sys.executable, folder / "train.py", "--reference", project.reference]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    words = ["-m", "core.cli", "-w", store.workspace, "elsewhere", "import", folder / "checkpoint"]
    words += ["--edit", edit, "--seed", "7", "--json"]
    back = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert back.returncode == 0, back.stderr
    run = json.loads(back.stdout)["run"]
    assert run.startswith("train-")
    assert store.state(run) == "finished"
    assert run != store.run_id(project.train(edit, 7)), "what was trained here has another name"
    assert (store.output(run) / "model" / "model.safetensors").exists()
