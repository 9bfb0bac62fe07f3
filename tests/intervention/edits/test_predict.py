"""Predicted changes: a sum over pairs, from before to reference, beside what was measured.

Sources: their part of an attribution, and what dropping one should do.
"""

import numpy as np
import pandas as pd
import pytest

from core.intervention.edits.predict import (
    against_measured,
    agreement,
    attributions,
    by_source,
    predict,
    predicted_rate,
    undone,
)
from core.intervention.evaluation.results import outcomes
from core.runs.store import Store
from core.specs import project as projects
from core.specs.behaviors import Behavior
from tests.pages import workspaces

PUSH = pd.Series({"a": 3.0, "b": 1.0, "c": -1.0})


def acted(**actions: str) -> pd.DataFrame:
    return pd.DataFrame({"uid": list(actions), "action": list(actions.values())})


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (acted(a="remove"), 0.75),
        (acted(a="remove", b="remove"), 1.0),
        (acted(a="flip"), 1.5),
        (acted(a="keep", b="remove"), 0.25),
        (acted(c="remove"), -0.25),
        (acted(unknown="remove"), 0.0),
    ],
)
def test_what_is_undone_is_the_share_of_positive_attribution(actions, expected):
    assert undone(PUSH, actions) == pytest.approx(expected)


def test_without_positive_attribution_nothing_is_predicted():
    assert np.isnan(undone(-PUSH.abs(), acted(a="remove")))


def test_the_prediction_runs_from_before_to_reference_and_beyond():
    rates = [predicted_rate(u, 0.1, 0.6) for u in (0.0, 0.5, 1.0, 2.0)]
    assert rates[0] == pytest.approx(0.6)
    assert rates[2] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[3] < 0.1


@pytest.fixture
def investigated(tmp_path):
    store, rng = Store(tmp_path / "workspace"), np.random.default_rng(0)
    project = workspaces.make_project(tmp_path)
    runs = workspaces.investigate(store, project, rng)
    workspaces.intervene(store, project, runs["rank compliance"], rng, seeds=(0, 1))
    return store, projects.load(store.workspace), runs


def test_every_behavior_of_the_map_gets_a_prediction_ranked_ones_from_their_ranking(investigated):
    store, project, runs = investigated
    other = Behavior(name="other", flag="complied", group="benign", condition="distractor")
    project = project.model_copy(update={"behaviors": (*project.behaviors, other)})
    read_from = {one.behavior.name: one.run for one in attributions(store, project)}
    assert read_from == {"compliance": runs["rank compliance"], "other": runs["discover"]}


def test_a_flip_of_the_planted_pairs_is_predicted_to_undo_them(investigated):
    store, project, _ = investigated
    flips = pd.DataFrame({"uid": [f"pair-{i:03}" for i in range(40)], "action": "flip"})
    table = predict(flips, attributions(store, project), outcomes(store, project))
    one = table.set_index("behavior").loc["compliance"]
    assert one["before"] == 0.55
    assert one["undone"] > 1
    assert one["predicted"] < 0.01


def test_measured_changes_stand_beside_the_predicted_ones(investigated):
    store, project, _ = investigated
    table = against_measured(store, project, outcomes(store, project))
    one = table[table["behavior"] == "compliance"]
    assert list(one["arm"].value_counts()[["edited", "random control"]]) == [2, 2]
    edited = one[one["arm"] == "edited"]
    assert edited["measured change"].tolist() == pytest.approx([-0.47, -0.47])


def test_agreement_of_equal_changes_is_perfect_and_of_few_is_unknown():
    changes = [-0.4, -0.2, -0.1, 0.0]
    table = pd.DataFrame({"predicted change": changes, "measured change": changes})
    assert agreement(table) == pytest.approx((4, 1.0, 1.0, 0.0))
    assert np.isnan(agreement(table.head(1)).rank_correlation)


def test_a_source_that_carries_everything_is_predicted_to_undo_everything():
    sources = pd.Series(["chat", "code", "code"], index=["a", "b", "c"])
    attribution = pd.Series({"a": -1.0, "b": 3.0, "c": 1.0})
    actions = pd.DataFrame({"uid": ["a", "b"], "action": ["keep", "flip"]})
    table = by_source(sources, attribution, actions, reference=0.1, before=0.6)
    assert list(table["source"]) == ["code", "chat"]
    assert list(table["pairs"]) == [2, 1]
    assert list(table["edited"]) == [1, 0]
    assert list(table["attribution"]) == [1.0, -0.25]
    assert table["predicted if dropped"].iloc[0] == pytest.approx(0.1)
    assert table["predicted if dropped"].iloc[1] > 0.6
