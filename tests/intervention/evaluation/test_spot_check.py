"""A blinded queue: equal parts, the same for everybody, compared with the judge by person."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from core.intervention.evaluation.spot_check import (
    agreement_by_person,
    answers,
    compare,
    draw,
    in_words,
    keys,
)
from core.runs.store import Store
from core.specs.events import Judgement
from tests.pages import workspaces


def ratings(values):
    return pd.Series(pd.array(values, dtype="boolean"))


def by_prompt(values, each=1):
    return pd.Series([f"p{i // each}" for i in range(len(values))])


def test_kappa_is_cohens():
    rng = np.random.default_rng(0)
    first = rng.random(200) < 0.4
    second = np.where(rng.random(200) < 0.6, first, rng.random(200) < 0.5)
    found = compare(ratings(first), ratings(second), by_prompt(first, each=4))
    assert found.kappa.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    assert found.kappa.n == 50
    assert found.agreement == pytest.approx((first == second).mean())
    assert in_words(found) == "fair to good"


def test_what_one_rater_left_unscored_is_counted_and_not_compared():
    first, second = ratings([True, True, False, None]), ratings([True, False, None, None])
    found = compare(first, second, by_prompt(first))
    assert (found.both, found.only_first, found.only_second, found.neither) == (1, 1, 0, 0)
    assert found.unscored == 2


@pytest.mark.parametrize("values", [[True, True], [], [None]])
def test_kappa_is_undefined_where_all_answers_are_the_same(values):
    found = compare(ratings(values), ratings(values), by_prompt(values))
    assert np.isnan(found.kappa.value)
    assert "undefined" in in_words(found)


def test_raters_of_different_completions_are_refused():
    with pytest.raises(ValueError, match="2, 1 ratings"):
        compare(ratings([True, False]), ratings([True]), by_prompt([1, 2]))


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
    verdicts = {
        (key, "ann"): Judgement(bool(judged), 1.0) for key, judged in named if pd.notna(judged)
    }
    verdicts |= {(key, "ben"): Judgement(None, 1.0) for key, _ in named[:3]}
    found = agreement_by_person(queue, verdicts, flag="complied")
    assert found["ann"].kappa.value == 1.0
    assert found["ben"].unscored == len(queue)
    assert answers(queue, verdicts, flag="complied", who="ben").isna().all()
    assert agreement_by_person(queue, verdicts, flag="refused") == {}
