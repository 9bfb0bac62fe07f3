"""From an empty workspace to a project of one's own, on a published preference file."""

import json

import pytest

from core.runs import project as projects
from core.runs.store import Store
from tests.browser.conftest import STREAMLIT, serving, settle
from tests.real_text import HH, save_inputs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not HH.exists(), reason="hh-rlhf is not beside the checkout"),
]
MINUTES = 60_000


def write_prompts(folder, name, numbers):
    rows = [
        {"prompt_id": f"{name}-{i}", "group": "requests", "topic": "any", "prompt": f"Do {i}."}
        for i in numbers
    ]
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_published_file_becomes_a_project(tab, tmp_path):
    save_inputs(tmp_path)
    write_prompts(tmp_path, "prompts", range(5))
    write_prompts(tmp_path, "heldout", range(5, 10))
    fields = {
        "Name of the investigation": "hh",
        "Reference: the model before preference training": tmp_path / "reference",
        "Policy: the model after it": tmp_path / "policy",
        "Preference pairs": tmp_path / "pairs.jsonl.gz",
        "Prompts": tmp_path / "prompts.jsonl",
        "Held-out prompts": tmp_path / "heldout.jsonl",
    }
    seen = {  # what the page says once it has looked at a choice
        "Reference: the model before preference training": "olmo2 · 3.0M parameters",
        "Policy: the model after it": "olmo2 · 3.0M parameters",
        "Preference pairs": "Which column is what",
    }
    store = Store(tmp_path / "workspace")
    with serving(store.workspace, *STREAMLIT) as address:
        tab.goto(address)
        tab.get_by_text("My own models and pairs").click()
        for label, value in fields.items():
            field = tab.get_by_role("textbox", name=label, exact=True)
            field.fill(str(value))
            field.press("Enter")
            if label in seen:
                tab.get_by_text(seen[label]).last.wait_for(timeout=MINUTES)
            settle(tab)
        tab.get_by_text("What it will cost").wait_for(timeout=3 * MINUTES)
        tab.get_by_role("button", name="Create the project").click()
        tab.get_by_text("The investigation").wait_for(timeout=3 * MINUTES)
        tab.get_by_text("Next: generate, index, discover").wait_for(timeout=3 * MINUTES)
        made = projects.load(store.workspace)
        while store.state(made.pairs) in ("waiting", "running"):
            tab.wait_for_timeout(200)
    assert made.name == "hh"
    assert store.state(made.pairs) == "finished"
    assert made.behaviors[0].flag == "refused"
