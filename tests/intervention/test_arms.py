import json

import pytest

from core.errors import UserError
from core.intervention.arms import edited_and_control, further_seeds, next_seeds
from core.runs.execute import describe
from core.specs import project as projects
from core.specs.recipes import Edit, EditSpec
from core.specs.steps import TrainSpec, is_run
from tests.small_organism import small_organism

EDIT = Edit.model_validate(
    {"action": "flip", "recipe": {"kind": "where", "column": "source", "values": ["safety"]}}
)


@pytest.fixture
def store(tmp_path):
    return small_organism(tmp_path)


@pytest.fixture
def project(store):
    return projects.load(store.workspace)


def test_the_control_differs_from_the_edit_by_nothing_but_its_seed(project, store):
    edited, control = edited_and_control(project, store, [EDIT], seeds=(0,), control_seed=5)
    assert isinstance(edited.edit, EditSpec)
    assert control.edit == edited.edit.model_copy(update={"control": 5})


def test_every_input_comes_before_the_spec_that_reads_it(project, store):
    for arm in edited_and_control(project, store, [EDIT], seeds=(0, 1, 2)):
        made = set()
        for spec in arm.specs():
            needed = {getattr(spec, name, "") for name in ("pairs", "model")}
            assert {n for n in needed if is_run(n)} <= made
            made.add(store.run_id(spec))


def test_arms_train_the_reference_with_the_projects_settings_and_each_seed(project, store):
    edited, _ = edited_and_control(project, store, [EDIT], seeds=(3, 4))
    assert [training.seed for training in edited.trainings] == [3, 4]
    assert isinstance(edited.trainings[0], TrainSpec)
    assert edited.trainings[0].reference == project.reference
    assert edited.trainings[0].beta == project.overrides["train"]["beta"]


def test_prompts_that_built_a_behavior_are_refused_for_measuring_it(project, store, tmp_path):
    first = (tmp_path / "prompts.jsonl").read_text().splitlines()[0]
    with (tmp_path / "heldout.jsonl").open("a") as stream:
        stream.write(json.dumps(json.loads(first) | {"prompt_id": "again"}) + "\n")
    with pytest.raises(UserError, match=r"are also in .*prompts\.jsonl"):
        edited_and_control(project, store, [EDIT], seeds=(0,))


@pytest.mark.parametrize(
    ("complete", "begun", "expected"),
    [
        ([0], [0], [1, 2]),
        ([0, 1, 2], [0, 1, 2], [3, 4]),
        ([], [0], [0, 1, 2]),
        ([1], [1, 5], [5, 0]),
    ],
)
def test_the_next_seeds_complete_what_is_begun_first(complete, begun, expected):
    assert next_seeds(complete, begun) == expected


def test_further_seeds_are_trained_as_the_first_was_whatever_the_project_says_now(project, store):
    first = edited_and_control(project, store, [EDIT], seeds=(0,), control_seed=5)
    trained = {}
    for arm in first:
        for spec in arm.specs():
            store.write_record(store.run_id(spec), describe(spec, store))
        trained[arm.name] = store.run_id(arm.trainings[0])
    changed = project.model_copy(update={"overrides": {"train": {"beta": 0.9}}})
    edit = store.run_id(first[0].edit)
    again = further_seeds(changed, store, edit, trained, [1, 2])
    planned = edited_and_control(project, store, [EDIT], seeds=(1, 2), control_seed=5)
    assert [arm.trainings for arm in again] == [arm.trainings for arm in planned]
    assert [arm.edit for arm in again] == [arm.edit for arm in planned]


def test_seeds_of_an_imported_arm_are_trained_here_as_the_project_says(project, store):
    (arm, _) = edited_and_control(project, store, [EDIT], seeds=(0,))
    imported = arm.trainings[0].model_copy(update={"checkpoint": project.policy})
    for spec in (arm.edit, imported):
        store.write_record(store.run_id(spec), describe(spec, store))
    trained = {"edited": store.run_id(imported)}
    again = further_seeds(project, store, store.run_id(arm.edit), trained, [1])
    planned = edited_and_control(project, store, [EDIT], seeds=(1,))
    assert [arm.trainings for arm in again] == [arm.trainings for arm in planned]
