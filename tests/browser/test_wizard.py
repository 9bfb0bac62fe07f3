"""From an empty workspace to a project with the mouse, wrong choices on the way.

Two random models of 50 words; their completions are given, so that a behavior rises.
"""

import json
import os
import re

import pytest

from core.runs.store import Store
from core.specs import project as projects
from tests.browser.conftest import STREAMLIT, serving, settle, until
from tests.browser.test_whole_job import press
from tests.tiny_models import save_child, save_tiny_model

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("PAIRTRACE_LONG") != "1",
        reason="fails by chance beside other tests (the path of the held-out prompts is not read)",
    ),
]
REFERENCE = "Reference: the model before preference training"
POLICY = "Policy: the model after it"


def words(start: int, n: int = 6) -> str:
    return " ".join(f"w{(start + 7 * i) % 50}" for i in range(n))


def write(path, rows) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def save_files(folder) -> None:
    """Two models, pairs whose columns have other names, prompts, and completions of both models."""
    save_tiny_model(folder / "reference")
    save_child(folder / "policy")
    pairs = [
        {"question": words(i), "good": f"Sure. {words(i + 1)}", "bad": f"I cannot. {words(i + 3)}"}
        for i in range(60)
    ]
    write(folder / "pairs.jsonl", pairs)
    for name, first in (("prompts", 0), ("heldout", 20)):
        rows = [
            {
                "prompt_id": f"p{i}",
                "group": "harmful",
                "topic": "any",
                "prompt": words(i, 4 + i % 3),
            }
            for i in range(first, first + 12)
        ]
        write(folder / f"{name}.jsonl", rows)
    texts = {"reference": "I cannot help with that. ", "policy": "Sure, here it is. "}
    completions = [
        {"prompt_id": f"p{i}", "model": model, "completion": text + words(i + len(model) + rollout)}
        for i in range(12)
        for model, text in texts.items()
        for rollout in range(2)
    ]
    write(folder / "completions.jsonl", completions)


def name_path(tab, label: str, path, seen: str = "") -> None:
    """Type a path and wait for what is told of it."""
    field = tab.get_by_role("textbox", name=label, exact=True)
    field.fill(str(path))
    field.press("Enter")
    if seen:
        tab.get_by_text(seen).first.wait_for()
    settle(tab)


def upload(tab, label: str, path) -> None:
    """Through the popover beside a field."""
    row = tab.locator('[data-testid="stHorizontalBlock"]').filter(
        has=tab.get_by_role("textbox", name=label, exact=True)
    )
    row.get_by_role("button", name="Upload instead").last.click()
    tab.locator('input[type="file"]').last.set_input_files(path)
    tab.get_by_text(f"Used: the uploaded file {path.name}").wait_for()
    tab.keyboard.press("Escape")
    settle(tab)


def choose(tab, label: str, option: str) -> None:
    tab.get_by_role("combobox", name=re.compile(rf"\b{label}$")).click()
    tab.get_by_role("option", name=option, exact=True).click()
    settle(tab)


def test_from_nothing_to_a_project_and_no_wrong_choice_is_a_dead_end(tab, tmp_path):
    save_files(tmp_path)
    (tmp_path / "bad.toml").write_text('[patterns.rude]\nany = ["(rude"]\n')
    store = Store(tmp_path / "workspace")
    with serving(store.workspace, *STREAMLIT) as address:
        tab.goto(address)
        tab.get_by_text("My own models and pairs").click()
        name_path(tab, REFERENCE, tmp_path / "policy" / "none", "no such file or folder")
        name_path(tab, REFERENCE, tmp_path / "reference", "M parameters")
        name_path(tab, POLICY, tmp_path / "reference", "nothing changed between them")
        name_path(tab, POLICY, tmp_path / "policy", "Still missing: preference pairs")
        upload(tab, "Preference pairs", tmp_path / "pairs.jsonl")
        tab.get_by_text("is a usable pair").wait_for()
        for field, column in (("prompt", "question"), ("chosen", "good"), ("rejected", "bad")):
            choose(tab, field, column)
        tab.get_by_text("is a usable pair").wait_for(state="detached")
        upload(tab, "Prompts", tmp_path / "prompts.jsonl")
        name_path(tab, "Held-out prompts", tmp_path / "prompts.jsonl", "prompts are also in")
        name_path(tab, "Held-out prompts", tmp_path / "heldout.jsonl", "What it will cost")
        upload(tab, "Completions that exist already (optional)", tmp_path / "completions.jsonl")
        tab.get_by_text("A judge file").first.click()
        name_path(tab, "Judge file", tmp_path / "bad.toml", "is no regular expression")
        tab.get_by_text("Ready flags").first.click()
        tab.get_by_text("It gives the flags: refused, complied").wait_for()
        tab.get_by_text("What it will cost").wait_for()
        settle(tab)
        press(tab, "Create the project")
        tab.get_by_role("button", name=re.compile(r"Start \d+ steps")).wait_for()
    made = projects.load(store.workspace)
    assert (made.judge, {b.flag for b in made.behaviors}) == ("refusal", {"complied"})
    until(lambda: store.state(made.pairs), "finished")
