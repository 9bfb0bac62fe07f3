"""Results: before and after with intervals and seeds, and what it cost."""

import re

import pandas as pd
import pytest

from core.intervention.arms import edited_and_control
from core.runs import jobs
from core.specs.recipes import Edit, TopK
from pages.components import completions
from tests.pages import workspaces
from tests.pages.conftest import page_text


@pytest.fixture
def three_seeds(store, project, investigated, rng):
    rank = investigated["rank compliance"]
    return workspaces.intervene(store, project, rank, rng, seeds=(0, 1, 2))


def test_before_any_retraining_it_says_what_to_do(open_page, investigated):
    assert "Nothing was retrained yet" in open_page("results").info[0].value


def drawn(box):
    return re.sub(r"\\([^\w\s])", r"\1", box.value)  # without escapes


def numbers(app):
    return next(frame.value for frame in app.dataframe if "n prompts" in frame.value)


def test_the_page_opens_with_the_verdict_its_rates_and_the_evidence(open_page, three_seeds):
    (verdict,) = map(drawn, open_page("results").success)
    assert "It worked (3 training seeds)" in verdict
    assert "compliance 55.0% → 8.0%; after a random edit of the same size 50.0%" in verdict
    assert "over 3 training seeds [+42.0, +42.0]" in verdict
    assert "Nothing else got worse" in verdict


def test_every_retraining_shows_rate_interval_and_n(open_page, three_seeds):
    table = numbers(open_page("results", part="Every behavior"))
    edited = table[table["behavior"].eq("compliance") & table["model"].eq("edited, seed 0")]
    assert list(edited[["rate", "95% low", "95% high", "n"]].iloc[0]) == [8, 5, 11, 240]


def test_all_edits_are_compared_and_laid_on_one_axis(
    open_page, three_seeds, store, project, investigated, rng
):
    workspaces.intervene(store, project, investigated["rank compliance"], rng, seeds=(0,), k=20)
    app = open_page("results", part="All edits")
    table = next(frame.value for frame in app.dataframe if "verdict" in frame.value)
    assert dict(zip(table["seeds"], table["verdict"], strict=True)) == {
        1: "not yet proven",
        3: "worked",
    }
    assert len(app.multiselect("overlaid").value) == 2


def test_one_seed_offers_exactly_the_jobs_that_prove_it(
    open_page, store, project, investigated, rng, monkeypatch
):
    rank = investigated["rank compliance"]
    arms = workspaces.intervene(store, project, rank, rng, seeds=(0,))
    started = []
    monkeypatch.setattr(jobs, "start", lambda _, spec: started.append(store.run_id(spec)))
    app = open_page("results")
    assert "Not yet proven (1 training seed)" in drawn(app.info[0])
    assert app.button("prove").label.startswith("Prove it: 2 more seeds, about ")
    app.button("prove").click().run()
    planned = edited_and_control(project, store, arms[0].edit.edits, seeds=(1, 2))
    wanted = [store.run_id(spec) for arm in planned for spec in (*arm.trainings, *arm.evaluations)]
    assert sorted(started) == sorted(wanted)


def test_an_edit_without_a_control_is_shown_after_those_with_one(
    open_page, three_seeds, store, project, investigated, rng
):
    edit = Edit(action="remove", recipe=TopK(rank=investigated["rank compliance"], k=80))
    (alone, _) = edited_and_control(project, store, [edit], seeds=(0,))
    workspaces.finish(store, alone.edit, summary={"n_pairs": 320, "n_removed": 80, "n_flipped": 0})
    workspaces.begin(store, alone.trainings[0], "running")
    app = open_page("results")
    assert "top 40 pairs" in app.selectbox("edit").options[0]
    assert "It worked" in app.success[0].value
    assert "top 80 pairs" in app.selectbox("edit").options[1]


def test_a_wanted_behavior_that_fell_is_named_as_the_price(open_page, three_seeds, store):
    for evaluation in three_seeds[0].evaluations:
        path = store.output(store.run_id(evaluation)) / "rates.parquet"
        rates = pd.read_parquet(path)
        rates.loc[rates["behavior"] == "helpfulness", "rate"] = 0.7
        rates.to_parquet(path)
    (verdict,) = map(drawn, open_page("results").warning)
    assert "It worked" in verdict
    assert "What got worse: helpfulness 99.0% → 70.0%" in verdict


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
    table = numbers(open_page("results", part="Every behavior"))
    policy = table[table["behavior"].eq("compliance") & table["model"].eq("policy")]
    assert list(policy["n"]) == [240]
