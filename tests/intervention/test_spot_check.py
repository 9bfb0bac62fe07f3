"""A blinded queue: equal parts, the same for everybody, compared with the judge by person."""

import numpy as np
import pandas as pd
import pytest

from core.intervention.spot_check import agreement_by_person, answers, draw, keys
from core.runs.edit_changes import Said
from core.runs.store import Store
from tests.pages import workspaces

COMPLIANCE = workspaces.BEHAVIORS[0]


@pytest.fixture
def measured(tmp_path):
    store, project = Store(tmp_path / "workspace"), workspaces.make_project(tmp_path)
    rng = np.random.default_rng(0)
    runs = [
        workspaces.evaluate(store, project, model, column, rng)
        for column, model in enumerate((project.reference, project.policy))
    ]
    return store, runs


def test_every_model_gives_equally_many_of_the_behaviors_completions(measured):
    store, runs = measured
    queue = draw(store, runs, COMPLIANCE, n=9)
    assert sorted(queue["run"].value_counts()) == [4, 5]
    assert set(queue["condition"]) == {"distractor"}
    assert not queue.duplicated(["run", "prompt_id", "condition", "rollout"]).any()


def test_everybody_gets_the_same_queue_whatever_the_order_of_runs(measured):
    store, runs = measured
    first, second = (draw(store, order, COMPLIANCE, n=12) for order in (runs, runs[::-1]))
    pd.testing.assert_frame_equal(first, second)


def test_people_are_compared_with_the_judge_on_what_they_read(measured):
    store, runs = measured
    queue = draw(store, runs, COMPLIANCE, n=40)
    named = list(zip(keys(queue, "complied"), queue["judged"], strict=True))
    verdicts = {(key, "ann"): Said(bool(judged), 1.0) for key, judged in named if pd.notna(judged)}
    verdicts |= {(key, "ben"): Said(None, 1.0) for key, _ in named[:3]}
    found = agreement_by_person(queue, verdicts, flag="complied")
    assert found["ann"].kappa.value == 1.0
    assert found["ben"].unscored == len(queue)
    assert answers(queue, verdicts, flag="complied", who="ben").isna().all()
    assert agreement_by_person(queue, verdicts, flag="refused") == {}
