"""Arms that an organism is shipped with become runs like any other."""

import json

import pandas as pd
import pytest

from core.data.canonical import write_pairs
from core.demo import investigation
from core.errors import UserError
from core.intervention.evaluation.results import outcomes
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project as projects
from core.specs.recipes import EditSpec
from core.specs.steps import EvaluateSpec, TrainSpec
from tests.tiny_models import save_tiny_model

PROMPTS = [
    {"prompt_id": f"{part}-{i}", "group": "requests", "topic": "t", "prompt": f"w{n} w{i}"}
    for n, part in enumerate(("built", "held-out"))
    for i in range(4)
]
REMOVAL = {
    "action": "remove",
    "recipe": {"kind": "where", "column": "uid", "values": ["0", "1"]},
    "why": "top 2",
}
ARM = {"edits": [REMOVAL], "seed": 3, "checkpoint": "removal", "completions": "removal.jsonl"}


@pytest.fixture
def organism(tmp_path):
    """A folder as assets/smollm2, with an arm and its control."""
    folder = tmp_path / "organism"
    arms = folder / "arms"
    arms.mkdir(parents=True)
    for seed, name in enumerate(("reference", "policy", "arms/removal", "arms/control")):
        save_tiny_model(folder / name, blocks=2, seed=seed)
    made = {"prompt": [f"w{i}" for i in range(8)], "chosen": "w1", "rejected": "w2", "source": "s"}
    write_pairs(pd.DataFrame(made).assign(uid=[*map(str, range(8))]), folder / "pairs.parquet")
    for name, rows in (("prompts", PROMPTS[:4]), ("heldout", PROMPTS[4:])):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for name, answers in (("removal", "No. I cannot."), ("control", "Sure: w1 w2.")):
        rows = [{"prompt_id": row["prompt_id"], "completion": answers} for row in PROMPTS[4:]]
        (arms / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    control = ARM | {"control": 0, "checkpoint": "control", "completions": "control.jsonl"}
    (arms / "arms.json").write_text(json.dumps({"made": "by a test", "arms": [ARM, control]}))
    (folder / "project.toml").write_text(
        'name = "o"\nreference = "reference"\npolicy = "policy"\npairs = "pairs.parquet"\n'
        'prompts = "prompts.jsonl"\nheldout = "heldout.jsonl"\njudge = "refusal"\n'
        '[[behaviors]]\nname = "complies"\nflag = "complied"\ngroup = "requests"\n'
        'condition = "plain"\n'
    )
    return folder


def test_shipped_arms_are_measured_by_their_completions(organism, tmp_path):
    store = Store(tmp_path / "workspace")
    plan = investigation.open_project(store, organism)
    runs = investigation.import_arms(store, lambda spec: execute(spec, store), organism)
    measured = outcomes(store, plan).set_index("arm")
    assert measured["rate"].to_dict() == {"edited": 0.0, "random control": 1.0}
    assert set(measured["seed"]) == {3}
    assert measured["edit"].nunique() == 1
    trained = [store.spec(run, EvaluateSpec).model for run in runs]
    edits = [store.spec(store.spec(run, TrainSpec).pairs, EditSpec) for run in trained]
    assert [edit.control for edit in edits] == [None, 0]
    assert (store.output(trained[0]) / "model" / "model.safetensors").is_file()
    assert plan == projects.load(store.workspace)


def test_an_organism_without_arms_has_none(organism, tmp_path):
    (organism / "arms" / "arms.json").unlink()
    store = Store(tmp_path / "workspace")
    investigation.open_project(store, organism)
    assert investigation.import_arms(store, lambda spec: execute(spec, store), organism) == []


def test_completions_of_prompts_that_are_not_held_out_are_refused(organism, tmp_path):
    (organism / "arms" / "removal.jsonl").write_text(
        json.dumps({"prompt_id": "built-0", "completion": "No."})
    )
    store = Store(tmp_path / "workspace")
    investigation.open_project(store, organism)
    with pytest.raises(UserError, match=r"removal.jsonl: row 1: no prompt 'built-0' is sent"):
        investigation.import_arms(store, lambda spec: execute(spec, store), organism)
