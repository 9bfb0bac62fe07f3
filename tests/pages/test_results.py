"""Results: before and after with intervals and seeds, and what it cost."""

import pandas as pd
import pytest

from core.intervention.arms import edited_and_control
from core.intervention.evaluation.results import outcomes
from core.specs.recipes import Edit, TopK
from pages.components import arm_table, completions
from tests.pages import workspaces
from tests.pages.conftest import page_text


@pytest.fixture
def three_seeds(store, project, investigated, rng):
    rank = investigated["rank compliance"]
    return workspaces.intervene(store, project, rank, rng, seeds=(0, 1, 2))


def test_before_any_retraining_it_says_what_to_do(open_page, investigated):
    assert "Nothing was retrained yet" in open_page("results").info[0].value


def test_every_arm_shows_rate_interval_and_n(open_page, three_seeds):
    told = page_text(open_page("results"))
    assert "policy: 55.0% [52.0%,\N{NBSP}58.0%], n\N{NBSP}=\N{NBSP}240" in told
    assert "edited: 8.0% in all 3 seeds, each [5.0%,\N{NBSP}11.0%], n\N{NBSP}=\N{NBSP}720" in told
    assert "random control: 50.0%" in told


def test_edited_is_compared_with_the_control_over_seeds(open_page, three_seeds):
    told = page_text(open_page("results"))
    assert "compliance: 55.0% in the policy, 8.0% after the edit." in told
    assert "Edited minus control: -42.0 points" in told


def test_an_edit_without_a_control_is_shown_after_those_with_one(
    open_page, three_seeds, store, project, investigated, rng
):
    edit = Edit(action="remove", recipe=TopK(rank=investigated["rank compliance"], k=80))
    (alone, _) = edited_and_control(project, store, [edit], seeds=(0,))
    workspaces.finish(store, alone.edit, summary={"n_pairs": 320, "n_removed": 80, "n_flipped": 0})
    workspaces.begin(store, alone.trainings[0], "running")
    app = open_page("results")
    assert "top 40 pairs" in app.selectbox("edit").options[0]
    assert "Edited minus control" in app.info[0].value
    assert "top 80 pairs" in app.selectbox("edit").options[1]


def test_a_missing_control_is_told(three_seeds, store, project):
    measured = outcomes(store, project)
    alone = measured[measured["arm"] != "random control"]
    assert "random control is not measured" in arm_table.headline(alone, "compliance")


def test_two_seeds_get_no_interval(open_page, store, project, investigated, rng):
    rank = investigated["rank compliance"]
    workspaces.intervene(store, project, rank, rng, seeds=(0, 1))
    told = page_text(open_page("results"))
    assert "An interval needs 3 seeds" in told


def test_nothing_worse_is_said_to_be_so(open_page, three_seeds):
    assert "No behavior moved the wrong way" in page_text(open_page("results"))


def test_a_wanted_behavior_that_fell_is_listed_as_worse(open_page, three_seeds, store):
    for evaluation in three_seeds[0].evaluations:
        path = store.output(store.run_id(evaluation)) / "rates.parquet"
        rates = pd.read_parquet(path)
        rates.loc[rates["behavior"] == "helpfulness", "rate"] = 0.7
        rates.to_parquet(path)
    worse = next(f.value for f in open_page("results").dataframe if "edited" in f.value)
    assert list(worse["behavior"]) == ["helpfulness"]
    assert worse["change"].iloc[0] == "-29.0 points"


def test_curves_show_while_a_training_runs(open_page, store, project, investigated):
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=40))
    (edited, _) = edited_and_control(project, store, [edit], seeds=(0,))
    workspaces.finish(store, edited.edit, summary={"n_pairs": 400, "n_removed": 0, "n_flipped": 40})
    workspaces.begin(store, edited.trainings[0], "running")
    app = open_page("results")
    assert "edited, seed 0: running · 3 of 10" in page_text(app)
    assert not app.exception


def test_a_failed_training_says_why(open_page, store, project, investigated):
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=40))
    (edited, _) = edited_and_control(project, store, [edit], seeds=(0,))
    workspaces.begin(store, edited.edit, "failed", error="no pairs left")
    workspaces.begin(store, edited.trainings[0], "failed", error="NaN loss at step 3")
    told = page_text(open_page("results"))
    assert "NaN loss at step 3" in told
    assert "The edit is failed" in told


def test_completions_of_two_models_stand_side_by_side(open_page, three_seeds):
    app = open_page("results", part="Completions")
    choices = {box.label: box.value for box in app.selectbox}
    assert (choices["Left"], choices["Right"]) == ("policy", "edited, seed 2")
    assert any("policy\\: " in caption.value for caption in app.caption)


def test_prompts_on_which_two_models_differ_most_come_first():
    def rated(**shown):
        rows = [(name, flag) for name, flags in shown.items() for flag in flags]
        return pd.DataFrame(rows, columns=["prompt_id", "complied"]).astype({"complied": "boolean"})

    policy = rated(a=[True, True], b=[True, False], c=[False, False], d=[True, True])
    edited = rated(a=[True, True], b=[True, True], c=[True, pd.NA])
    assert completions.by_difference(policy, edited, "complied") == ["c", "b", "a"]


def test_the_edited_pairs_can_be_taken_elsewhere(open_page, three_seeds):
    app = open_page("results", part="Report and export")
    assert "400 pairs: 0 removed, 40 flipped" in page_text(app)
    assert "report --out report.html" in page_text(app)


def test_sizes_of_one_edit_make_a_curve(open_page, three_seeds, store, project, investigated, rng):
    assert "One size of this edit is measured" in page_text(open_page("results", part="Dose"))
    workspaces.intervene(store, project, investigated["rank compliance"], rng, seeds=(0,), k=20)
    told = page_text(open_page("results", part="Dose"))
    assert "One size" not in told
    assert "At 0 pairs: the policy" in told


def test_predicted_changes_stand_beside_measured_ones(open_page, three_seeds):
    app = open_page("results", part="Predicted and measured")
    values = {metric.label: metric.value for metric in app.metric}
    assert values["Retrainings"] == "6"
    assert values["Rank correlation"] == "1.00"
    assert "6 retrainings say little" in app.warning[0].value


def test_sources_are_compared_by_what_they_carry(open_page, three_seeds):
    app = open_page("results", part="Sources")
    table = next(f.value for f in app.dataframe if "attribution" in f.value)
    assert list(table["source"]) == ["instructions", "chat"]
    assert list(table["edited"]) == [40, 0]
    assert table["predicted if dropped"].iloc[0] < 55


def test_measurements_of_other_prompts_are_left_out(open_page, three_seeds, store, project, rng):
    fewer = project.model_copy(update={"overrides": {"evaluate": {"rollouts": 1}}})
    workspaces.evaluate(store, fewer, project.policy, 0, rng)
    assert "policy: 55.0% [52.0%,\N{NBSP}58.0%], n\N{NBSP}=\N{NBSP}240" in page_text(
        open_page("results")
    )
