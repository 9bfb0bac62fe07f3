import json
import shutil

import pandas as pd
import pytest

from core.intervention.evaluation.results import (
    complement,
    fell,
    moved,
    of_behaviors,
    outcomes,
    rose,
)
from core.runs.store import Store
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.recipes import EditSpec
from core.specs.steps import EvaluateSpec, TrainSpec

BEHAVIOR = Behavior(name="compliance", flag="complied", group="harmful", condition="distractor")
RATE = {"behavior": "compliance", "flag": "complied", "group": "harmful"} | {
    "condition": "distractor",
    "wanted": False,
    "n": 9,
}


@pytest.fixture
def workspace(tmp_path):
    """A store, its project, and a way to finish runs without computing anything."""
    for name in ("reference", "policy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_text(name)
    for name in ("pairs.jsonl", "prompts.jsonl"):
        (tmp_path / name).write_text(name)
    paths = {name: str(tmp_path / name) for name in ("reference", "policy")}
    files = {"pairs": "pairs.jsonl", "prompts": "prompts.jsonl", "heldout": "prompts.jsonl"}
    project = Project(
        name="p",
        judge="refusal",
        behaviors=(BEHAVIOR,),
        **paths,
        **{name: str(tmp_path / file) for name, file in files.items()},
    )
    return Store(tmp_path / "workspace"), project


def finish(store, spec, rate=None):
    """A finished run of a spec, in the documented layout."""
    run = store.run_id(spec)
    (store.folder(run) / "output").mkdir(parents=True)
    record = {"step": spec.step, "spec": spec.model_dump(mode="json")}
    store.write_record(run, record | {"contents": store.contents(spec)})
    line = {"time": 1.0, "event": "finished", "pid": 1}
    (store.folder(run) / "progress.jsonl").write_text(json.dumps(line) + "\n")
    if rate is not None:
        row = RATE | {"model": "evaluated", "rate": rate, "low": rate, "high": rate}
        pd.DataFrame([row]).to_parquet(store.folder(run) / "output" / "rates.parquet")
    return run


def arms(store, project):
    recipe = {"kind": "where", "column": "uid", "values": ["u"]}
    edited = EditSpec(pairs=project.pairs, edits=[{"action": "flip", "recipe": recipe}])
    control = edited.model_copy(update={"control": 0})
    return [finish(store, edited), finish(store, control)]


def evaluate(store, project, model, rate):
    return finish(store, project.evaluate(model), rate)


def test_the_projects_models_are_known_wherever_their_folders_are(workspace, tmp_path):
    store, project = workspace
    evaluate(store, project, project.policy, 0.5)
    evaluate(store, project, project.reference, 0.0)
    moved = {name: str(tmp_path / "moved" / name) for name in ("reference", "policy")}
    for name, folder in moved.items():
        shutil.copytree(getattr(project, name), folder)
    arms = outcomes(store, project.model_copy(update=moved))["arm"]
    assert sorted(arms) == ["policy", "reference"]


def test_every_evaluation_is_named_by_arm_edit_and_seed(workspace):
    store, project = workspace
    edited, control = arms(store, project)
    evaluate(store, project, project.policy, 0.5)
    for pairs, rate in ((project.pairs, 0.4), (edited, 0.1), (control, 0.3)):
        training = TrainSpec(reference=project.reference, pairs=pairs, seed=7)
        evaluate(store, project, finish(store, training), rate)
    found = outcomes(store, project).set_index("arm")
    assert found["rate"].to_dict() == {
        "policy": 0.5,
        "baseline": 0.4,
        "edited": 0.1,
        "random control": 0.3,
    }
    assert set(found.loc[["edited", "random control"], "edit"]) == {edited}
    assert found.loc["edited", "seed"] == 7
    assert pd.isna(found.loc["policy", "seed"])


def test_a_control_stays_with_its_edit_after_the_pairs_file_has_changed(workspace):
    store, project = workspace
    edited, control = arms(store, project)
    training = finish(store, TrainSpec(reference=project.reference, pairs=control))
    evaluate(store, project, training, 0.3)
    with open(project.pairs, "a") as stream:
        stream.write("more")
    assert outcomes(store, project)["edit"].tolist() == [edited]


def test_steered_evaluations_are_arms_of_their_own(workspace):
    store, project = workspace
    spec = project.evaluate(project.reference)
    steered = {"vector": "rank-" + "0" * 16, "steering": "add", "coefficient": 2.0}
    finish(store, EvaluateSpec(**(spec.model_dump() | steered)), 0.9)
    assert outcomes(store, project)["arm"].tolist() == ["steered: + 2 × vector"]


def test_no_evaluation_gives_an_empty_table_with_columns(workspace):
    assert {"arm", "behavior", "rate"} <= set(outcomes(*workspace).columns)


@pytest.mark.parametrize(
    ("reference", "policy", "rises"),
    [((0.0, 0.1), (0.2, 0.4), True), ((0.0, 0.3), (0.2, 0.4), False), ((0, 0.1), (0, 0.0), False)],
)
def test_a_behavior_rose_only_if_the_intervals_are_disjoint(reference, policy, rises):
    rows = [
        RATE | {"behavior": "any name", "model": model, "rate": low, "low": low, "high": high}
        for model, (low, high) in (("reference", reference), ("policy", policy))
    ]
    assert rose([BEHAVIOR], pd.DataFrame(rows)) == [BEHAVIOR] * rises


def test_a_wanted_change_is_no_rise_to_trace():
    wanted = BEHAVIOR.model_copy(update={"wanted": True})
    rows = [
        RATE | {"model": m, "rate": r, "low": r, "high": r}
        for m, r in (("reference", 0.0), ("policy", 1.0))
    ]
    assert rose([wanted], pd.DataFrame(rows)) == []


def cells(**rates_of):
    """Rates of flags on harmful prompts: flag → reference, policy; intervals of ±0.01."""
    return pd.DataFrame(
        {
            "flag": flag,
            **{"group": "harmful", "condition": "plain", "model": model, "rate": rate},
            **{"low": rate - 0.01, "high": rate + 0.01},
        }
        for flag, both in rates_of.items()
        for model, rate in zip(("reference", "policy"), both, strict=True)
    )


def test_a_fall_is_traced_by_the_flag_that_rises_with_it():
    guard = Behavior(name="refuses harm", flag="refused", group="harmful", wanted=True)
    measured = cells(hedged=(0.1, 0.1), complied=(0.1, 0.6), refused=(0.9, 0.4))
    assert fell(guard, measured)
    other = complement(guard, measured)
    assert (other.flag, other.group, other.condition, other.wanted) == (
        *("complied", "harmful", "plain", False),
    )
    assert rose([other], measured) == [other]


def test_a_flag_without_complement_has_none():
    guard = Behavior(name="refuses harm", flag="refused", group="harmful", wanted=True)
    measured = cells(complied=(0.1, 0.5), refused=(0.9, 0.2))
    assert complement(guard, measured) is None
    assert complement(guard, cells(complied=(0.1, 0.1), refused=(0.9, 0.9))) is None
    assert not fell(guard, cells(refused=(0.4, 0.4)))


def test_rates_are_named_by_the_behaviors_that_ask_for_them():
    rows = pd.DataFrame([RATE | {"behavior": "x"}, RATE | {"behavior": "y", "group": "benign"}])
    assert of_behaviors(rows, [BEHAVIOR])["behavior"].tolist() == ["compliance"]


def test_what_moved_is_listed_once_and_the_largest_first():
    flags = {
        "hedged": (0.5, 0.1),
        "complied": (0.1, 0.7),
        "refused": (0.9, 0.3),
        "flattered": (0.2, 0.21),
    }
    measured = cells(**flags).assign(n=100)
    table = moved(measured, [])
    assert table["flag"].tolist() == ["complied", "hedged"]
    assert table["change"].tolist() == pytest.approx([0.6, -0.4])
    assert (table["change_low"] < table["change"]).all()
    traced = Behavior(name="complies", flag="complied", group="harmful")
    assert moved(measured, [traced])["flag"].tolist() == ["hedged"]
