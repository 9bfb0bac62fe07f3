"""Behaviors by examples or a sentence: added, collected and read on pages, with no policy."""

import json
from pathlib import Path

import pytest

from core.runs.execute import execute
from core.specs import project as projects
from core.specs.behaviors import Contrast
from core.workspace import checks
from tests.pages.conftest import page_text
from tests.pages.workspaces import HOSTILE
from tests.tiny_models import save_tiny_model


@pytest.fixture
def unmeasured(project, store, tmp_path):
    """A project with nothing but a reference, pairs, prompts and a behavior by a sentence."""
    contrast = Contrast(name="flattery", sentence="Answer with **flattery**.")
    update = {"policy": "", "heldout": "", "judge": "none", "behaviors": ()}
    made = project.model_copy(update=update | {"contrasts": (contrast,)})
    projects.save(made, store.workspace)
    return projects.load(store.workspace)


def test_a_behavior_is_collected_and_ranked_without_a_policy(open_page, unmeasured, store):
    app = open_page("behaviors", behavior="flattery")
    assert app.button[0].label == "Collect the completions"
    assert any("contrast" in code.value for code in app.code)
    assert open_page("rank").button[0].label == "Collect the completions"


def test_the_overview_lists_its_steps_and_none_that_needs_a_policy(open_page, unmeasured):
    steps = open_page("overview").dataframe[0].value["step"].tolist()
    assert steps == ["index", "contrast flattery", "rank flattery"]


@pytest.mark.parametrize(
    "page", ["tour", "map", "clusters", "results", "intervene", "data", "setup"]
)
def test_no_page_fails_without_a_policy(open_page, unmeasured, page):
    assert not open_page(page).exception


def test_a_sentence_is_added_from_the_page(open_page, project, store):
    save_tiny_model(Path(project.reference))  # its size is in the costs
    app = open_page("behaviors")
    app.text_input("new-name").set_value("bragging").run()
    app.text_area("new-sentence").set_value("Praise yourself.").run()
    assert "12 prompts: 96 completions to sample" in page_text(app)
    app.button("new-add").click().run()
    contrast = projects.load(store.workspace).contrast_named("bragging")
    assert contrast.sentence == "Praise yourself."
    assert app.selectbox("behavior").value == "bragging"


def test_a_name_that_is_taken_is_refused(open_page, project):
    app = open_page("behaviors")
    app.text_input("new-name").set_value("compliance").run()
    app.text_area("new-sentence").set_value("Praise yourself.").run()
    assert "is a behavior already" in page_text(app)


def test_examples_are_read_side_by_side_as_plain_text(open_page, unmeasured, store, tmp_path):
    rows = [{"prompt": f"Hello {i}.", "shows": HOSTILE, "lacks": "Hello."} for i in range(5)]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    contrast = Contrast(name="hostility", examples=str(tmp_path / "e.jsonl"))
    projects.save(checks.with_contrast(unmeasured, contrast), store.workspace)
    execute(unmeasured.contrast(contrast), store)
    app = open_page("behaviors", behavior="hostility")
    assert "5 completions that show it and 5 that do not, on 5 prompts" in page_text(app)
    assert app.button[0].label == "Rank the pairs"
    assert not any("evil.example" in part.value for part in [*app.markdown, *app.caption])
