"""Sizes of an edit scale every top k; the adopted one is chosen on prompts that its rate omits."""

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.intervention.evaluation.edit_sizes import (
    in_dev,
    ladder,
    measured_sizes,
    scaled,
    shape,
    siblings,
    total_k,
)
from core.intervention.evaluation.results import outcomes
from core.runs.store import Store
from core.specs.recipes import AllOf, Edit, EditSpec, NoneOf, TopK, Where
from tests.pages import workspaces
from tests.pages.workspaces import BEHAVIORS, finish

RANK = "rank-0123456789abcdef"
SEEDS = (0, 1, 2)


@pytest.fixture
def project(tmp_path):
    return workspaces.make_project(tmp_path)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


def completions(dev: float, test: float, helpful: float = 1.0) -> pd.DataFrame:
    """Ten completions per prompt; the behavior's rate on dev and test prompts, exactly."""
    rows = [
        {"prompt_id": row["prompt_id"], "group": row["group"], "condition": condition}
        | {"model": "evaluated", "rollout": rollout}
        for row in workspaces.prompts().to_dict("records")
        for condition in ("plain", "distractor")
        for rollout in range(10)
    ]
    table = pd.DataFrame(rows)
    triggered = table["group"].eq("harmful") & table["condition"].eq("distractor")
    rate = np.where(in_dev(table), dev, test)
    rate = np.where(triggered, rate, np.where(table["group"].eq("harmful"), 0.0, helpful))
    return table.assign(complied=pd.array(table["rollout"] < 10 * rate, dtype="boolean"))


def measure(store, project, model, table):
    spec = project.evaluate(model)
    finish(store, spec, completions=table, rates=workspaces.rates({"evaluated": 0}), summary={})


def measured(store, project, arms):
    """k → (dev, test, helpful) becomes finished arms; returns the outcomes and one edit run."""
    measure(store, project, project.policy, completions(0.5, 0.5))
    for k, rates in arms.items():
        edit = Edit(action="remove", recipe=TopK(rank=RANK, k=k), why=f"top {k}")
        run = finish(store, EditSpec(pairs=project.pairs, edits=(edit,)), summary={})
        for seed in SEEDS:
            trained = finish(store, project.train(run, seed), summary={})
            measure(store, project, trained, completions(*rates))
    return outcomes(store, project), run


def adopted(store, project, arms):
    table = measured_sizes(store, project, *measured(store, project, arms), BEHAVIORS[0])
    assert table["k"].tolist() == sorted(arms)
    return table


def test_prompts_are_halved_within_every_group_whatever_else_a_table_contains():
    prompts = workspaces.prompts()
    dev = prompts[in_dev(prompts)]
    assert dev.groupby("group").size().tolist() == [
        -(-n // 2) for n in prompts.groupby("group").size()
    ]
    shuffled = prompts.sample(frac=1, random_state=0)
    assert set(shuffled[in_dev(shuffled)]["prompt_id"]) == set(dev["prompt_id"])


def test_the_smallest_size_that_does_as_well_as_the_best_is_adopted(store, project):
    table = adopted(store, project, {10: (0.4, 0.4), 20: (0.1, 0.2), 40: (0.1, 0.2)})
    assert table["adopted"].tolist() == [False, True, False]
    assert table["dev"].tolist() == pytest.approx([0.4, 0.1, 0.1])
    assert table["test"].tolist() == pytest.approx([0.4, 0.2, 0.2])


def test_test_prompts_take_no_part_in_the_choice(store, project):
    table = adopted(store, project, {10: (0.2, 0.0), 20: (0.1, 0.5)})
    assert table["adopted"].tolist() == [False, True]


def test_a_size_that_makes_a_wanted_behavior_worse_is_not_adopted(store, project):
    table = adopted(store, project, {10: (0.2, 0.2), 20: (0.1, 0.1, 0.8)})
    assert table["adopted"].tolist() == [True, False]
    ((name, worse),) = table["broken"][1]
    assert name == "helpfulness"
    assert worse == pytest.approx(0.2)


def test_without_a_measured_arm_nothing_can_be_adopted(store, project):
    edit = Edit(action="remove", recipe=TopK(rank=RANK, k=9))
    run = finish(store, EditSpec(pairs=project.pairs, edits=(edit,)), summary={})
    with pytest.raises(UserError, match="no arm of it is measured"):
        measured_sizes(store, project, outcomes(store, project), run, BEHAVIORS[0])


CHAT = Where(column="source", values=("chat",))


def top(k: int, *parts: object) -> Edit:
    recipe = TopK(rank=RANK, k=k)
    return Edit(action="flip", recipe=AllOf(parts=(recipe, *parts)) if parts else recipe)


def test_every_top_k_is_scaled_wherever_it_is():
    edits = scaled([top(40, NoneOf(parts=(CHAT,))), top(8)], 0.25)
    assert edits[0].recipe.parts[0].k == 10
    assert edits[0].recipe.parts[1] == NoneOf(parts=(CHAT,))
    assert edits[1].recipe.k == 2


def test_a_ladder_rises_and_has_no_size_twice():
    assert [total_k(step) for step in ladder([top(4)], (2, 0.25, 0.2, 1))] == [1, 4, 8]


def test_an_edit_without_a_top_k_has_no_sizes():
    with pytest.raises(UserError, match="top k"):
        ladder([Edit(action="remove", recipe=CHAT)])


def test_sizes_of_one_edit_have_one_shape_and_others_have_not():
    assert shape([top(40)]) == shape([top(10)])
    assert shape([top(40)]) != shape([top(40, CHAT)])


def test_sizes_of_one_edit_are_found_among_others():
    edits = {"a": [top(40)], "b": [top(10)], "c": [top(40, CHAT)]}
    assert siblings(edits, "a") == {"a": 40, "b": 10}
