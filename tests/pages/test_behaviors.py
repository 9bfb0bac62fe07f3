"""Behaviors: both models' completions side by side, and whether their difference is a direction."""

import json

import pandas as pd

from core.data.prompts import read_prompts
from core.specs import project as projects
from core.specs.behaviors import Behavior
from core.specs.steps import EvaluateSpec
from tests.pages import workspaces
from tests.pages.conftest import page_text


def test_without_completions_the_step_and_its_command_are_offered(open_page, project):
    app = open_page("behaviors")
    assert app.button[0].label == "Let both models complete the prompts"
    assert any("pairtrace" in code.value and "generate" in code.value for code in app.code)


def test_a_running_step_is_followed(open_page, project, store):
    workspaces.begin(store, project.generate(), "running")
    app = open_page("behaviors")
    assert "3 of 10" in page_text(app)
    assert "last line of the log" in page_text(app)


def test_a_failed_step_shows_its_error_and_log(open_page, project, store):
    run = workspaces.begin(store, project.generate(), "failed", error="no such model")
    app = open_page("behaviors")
    assert "no such model" in page_text(app)
    assert "last line of the log" in page_text(app)
    assert app.button(f"retry-{run}").label == "Try again"


def test_rates_are_shown_with_interval_n_and_unscored(open_page, investigated):
    drawn = page_text(open_page("behaviors"))
    assert "95% interval [52.0%,\N{NBSP}58.0%] · n\N{NBSP}=\N{NBSP}240 · unscored 1" in drawn


def test_hostile_completions_never_reach_markdown(open_page, investigated):
    app = open_page("behaviors")
    assert not any("evil.example" in part.value for part in [*app.markdown, *app.caption])


def test_a_link_restores_the_behavior(open_page, investigated):
    app = open_page("behaviors", behavior="helpfulness")
    assert app.selectbox("behavior").value == "helpfulness"
    assert "a guard" in page_text(app)


def test_the_vector_is_judged_against_its_null(open_page, investigated):
    assert "beats its null at layer 2" in page_text(open_page("behaviors"))


def test_of_a_behavior_that_fell_the_prompt_that_lost_most_comes_first(
    open_page, project, investigated, store
):
    fell = Behavior(name="refusal", flag="refused", group="harmful", condition="distractor")
    projects.save(project.model_copy(update={"behaviors": (fell,)}), store.workspace)
    changes = open_page("behaviors").dataframe[0].value["change"]
    assert changes.iloc[0] == changes.min() < 0


def test_a_log_that_holds_only_the_error_is_not_shown_beside_it(open_page, project, store):
    run = workspaces.begin(store, project.generate(), "failed", error="no such model")
    (store.folder(run) / "log.txt").write_text("Error: no such model\n")
    assert page_text(open_page("behaviors")).count("no such model") == 1


def test_a_prompt_is_tried_on_both_models_side_by_side(open_page, investigated, project, store):
    row = {"prompt_id": "tried", "group": "tried", "topic": "tried", "prompt": "Say **hi**"}
    path = store.workspace / "tried.jsonl"
    path.write_text(json.dumps(row) + "\n")
    for name in ("reference", "policy"):
        spec = EvaluateSpec(
            model=getattr(project, name), prompts=str(path), judge="none", behaviors=(), rollouts=3
        )
        texts = pd.DataFrame({"completion": [f"the {name} says <b>hi</b>"]})
        workspaces.finish(store, spec, completions=texts)
    app = open_page("behaviors")
    app.text_area("try-prompt").set_value("Say **hi**")
    app.button("try").click().run()
    assert not app.exception
    drawn = "".join(str(html.proto.body) for html in app.get("html"))
    for name in ("reference", "policy"):
        assert f"the {name} says &lt;b&gt;hi&lt;/b&gt;" in drawn
    (written,) = (store.workspace / "inputs").glob("tried-*.jsonl")
    assert read_prompts(written)["prompt"].tolist() == ["Say **hi**"]
