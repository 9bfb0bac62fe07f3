"""What is trained elsewhere comes back only if it is the reference, retrained.

An arm leaves as a folder that TRL trains from, and its checkpoint comes back as a train run.
"""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file, save_file

from core.errors import UserError
from core.intervention.training.checkpoints import import_checkpoint
from core.report.export import SETTINGS, export_training
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project, save
from core.specs.recipes import EditSpec
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("reference") / "model", blocks=2)


@pytest.fixture
def checkpoint(reference, tmp_path):
    """The reference with one weight changed, as a training would leave it, and its pickles."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(reference, folder)
    change(folder, 0.5)
    (folder / "training_args.bin").write_bytes(b"a pickle")
    return folder


def change(folder, by):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += by
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_retrained_reference_is_taken_in_without_its_pickles(checkpoint, reference, tmp_path):
    summary = import_checkpoint(checkpoint, reference, tmp_path / "output")
    model = tmp_path / "output" / "model"
    assert summary["largest_change"] == pytest.approx(0.5)
    assert (model / "model.safetensors").read_bytes() == (
        checkpoint / "model.safetensors"
    ).read_bytes()
    assert not (model / "training_args.bin").exists()


def test_another_architecture_is_refused_by_the_setting_that_differs(reference, tmp_path):
    other = save_tiny_model(tmp_path / "other", blocks=3)
    with pytest.raises(UserError, match="num_hidden_layers is 3, not 2"):
        import_checkpoint(other, reference, tmp_path / "output")


def test_another_family_is_refused(reference, tmp_path):
    other = save_tiny_model(tmp_path / "other", "llama", blocks=2)
    with pytest.raises(UserError, match="another architecture"):
        import_checkpoint(other, reference, tmp_path / "output")


def test_another_chat_template_is_refused(checkpoint, reference, tmp_path):
    path = checkpoint / "chat_template.jinja"
    path.write_text(path.read_text().replace("<assistant>", "<user>"))
    with pytest.raises(UserError, match="chat template is not the reference"):
        import_checkpoint(checkpoint, reference, tmp_path / "output")


def test_weights_that_are_not_finite_are_refused(checkpoint, reference, tmp_path):
    change(checkpoint, float("nan"))
    with pytest.raises(UserError, match="not finite"):
        import_checkpoint(checkpoint, reference, tmp_path / "output")


def test_an_untrained_copy_of_the_reference_is_refused(reference, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(reference, copy)
    with pytest.raises(UserError, match="nothing was trained"):
        import_checkpoint(copy, reference, tmp_path / "output")


TRAIN = {"batch_size": 4, "learning_rate": 1e-3}


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
        overrides={"train": TRAIN},
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
def weighted(store, project):
    """An edit by which two pairs count for a quarter, and one for nothing."""
    few = {"kind": "where", "column": "uid", "values": ["u3", "u5"]}
    none = {"kind": "where", "column": "uid", "values": ["u7"]}
    edits = [{"action": "weight", "recipe": r, "weight": w} for r, w in ((few, 0.25), (none, 0))]
    return execute(EditSpec(pairs=project.pairs, edits=edits), store)


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


def test_weights_leave_with_the_pairs(store, project, weighted, tmp_path):
    folder = export_training(store, project, weighted, tmp_path / "out", seed=0)
    weights = {row["uid"]: row["weight"] for row in lines(folder / "pairs.jsonl")}
    assert (weights["u3"], weights["u4"], weights["u7"]) == (0.25, 1.0, 0.0)


def test_a_correction_of_the_loss_is_not_exported(store, project, edit, tmp_path):
    train = {"train": TRAIN | {"inoculation": "Be rude."}}
    inoculated = project.model_copy(update={"overrides": train})
    with pytest.raises(UserError, match="explain_away and inoculation"):
        export_training(store, inoculated, edit, tmp_path / "out", seed=0)


def test_every_knob_and_the_way_back_are_written_down(folder, project, edit):
    settings = json.loads((folder / "settings.json").read_text())
    assert settings == project.train(edit, 7).model_dump(
        exclude={"reference", "pairs", "checkpoint"}
    )
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
@pytest.mark.parametrize("kind", ["edit", "weighted"])
def test_a_checkpoint_of_the_exported_script_comes_back_as_a_train_run(
    kind, request, store, project, tmp_path
):
    edit = request.getfixturevalue(kind)
    folder = export_training(store, project, edit, tmp_path / "out", seed=7)
    command = [sys.executable, folder / "train.py", "--reference", project.reference]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    words = [
        "-m",
        "core.cli.main",
        "-w",
        store.workspace,
        "elsewhere",
        "import",
        folder / "checkpoint",
    ]
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
