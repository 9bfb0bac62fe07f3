"""Set up with the mouse, nothing typed but paths: to a first ranking, and through wrong choices.

The ranking's models are two random ones of 50 words; their completions are given, so that a
behavior rises.
"""

import json
import re

import pytest
from playwright.sync_api import expect

from core.demo.investigation import ORGANISM
from core.runs.store import Store
from core.specs import project as projects
from tests.browser.conftest import settle
from tests.browser.test_whole_job import MINUTES, go_to, press
from tests.tiny_models import save_child, save_tiny_model
from tests.wrong_choices import CASES, path_of, save_inputs

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
LABELS = {
    "reference": "Reference: the model before preference training",
    "policy": "Policy: the model after it",
    "pairs": "Preference pairs",
    "prompts": "Prompts",
    "heldout": "Held-out prompts",
    "completions": "Completions that exist already (optional)",
    "judge": "Judge file",
}


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


def field(tab, name: str):
    return tab.get_by_role("textbox", name=LABELS[name], exact=True)


def name_path(tab, name: str, path) -> None:
    """Type a path."""
    field(tab, name).fill(str(path))
    field(tab, name).press("Enter")


def upload(tab, name: str, path) -> None:
    """Through the popover beside a field."""
    row = tab.locator('[data-testid="stHorizontalBlock"]').filter(has=field(tab, name))
    row.get_by_role("button", name="Upload instead").last.click()
    label = tab.get_by_text(f"{LABELS[name]}: upload", exact=True)
    uploader = tab.get_by_test_id("stFileUploader").filter(has=label)
    uploader.locator('input[type="file"]').set_input_files(path)
    tab.get_by_text(f"Used: the uploaded file {path.name}").wait_for()
    tab.keyboard.press("Escape")
    uploader.wait_for(state="detached")


def choose(tab, label: str, option: str) -> None:
    tab.get_by_role("combobox", name=re.compile(rf"\b{label}$")).click()
    tab.get_by_role("option", name=option, exact=True).click()
    settle(tab)


def fill_in(tab, paths) -> None:
    """Every path, and wait until the project can be created."""
    for name, path in paths.items():
        name_path(tab, name, path)
    tab.get_by_text("What it will cost").wait_for(timeout=MINUTES)


def test_from_nothing_to_a_first_ranking(served, tab, tmp_path):
    save_files(tmp_path)
    store = Store(tmp_path / "workspace")
    with served(store.workspace) as address:
        tab.goto(address)
        tab.get_by_text("My own models and pairs").click()
        upload(tab, "pairs", tmp_path / "pairs.jsonl")
        for column, name in (("prompt", "question"), ("chosen", "good"), ("rejected", "bad")):
            choose(tab, column, name)
        paths = {name: tmp_path / name for name in ("reference", "policy")}
        files = ("prompts", "heldout", "completions")
        fill_in(tab, paths | {name: tmp_path / f"{name}.jsonl" for name in files})
        tab.get_by_text("It gives the flags: refused, complied").wait_for()
        tab.get_by_text("120 texts; where there are more").wait_for()
        settle(tab)
        press(tab, "Create the project")
        press(tab, r"Start \d+ steps")
        tab.get_by_text("Next: rank complied").wait_for(timeout=5 * MINUTES)
        press(tab, r"Start \d+ step")
        while not store.finished("rank"):
            tab.wait_for_timeout(500)
        go_to(tab, "Rank")
        tab.get_by_role("button", name=re.compile(r"Add [\d,]+ pairs")).wait_for()
    made = projects.load(store.workspace)
    assert (made.judge, {b.flag for b in made.behaviors}) == ("refusal", {"complied"})
    assert len(store.finished("rank")) == 1
    assert not store.infos(state="failed")


def test_a_wrong_choice_is_stopped_and_the_right_one_takes_its_place(served, tab, tmp_path):
    made = projects.load(ORGANISM)
    files = ("reference", "policy", "pairs", "prompts", "heldout")
    right = {name: getattr(made, name) for name in files} | {"completions": ""}
    save_inputs(tmp_path)
    cases = [(choices, message) for choices, message in CASES if set(choices) <= set(LABELS)]
    assert len(cases) >= 25
    with served(tmp_path / "workspace") as address:
        tab.goto(address)
        tab.get_by_text("My own models and pairs").click()
        fill_in(tab, right)
        wrong: set[str] = set()
        for choices, message in cases:
            for name in wrong & set(right) - set(choices):
                name_path(tab, name, right[name])
            if "judge" in choices and "judge" not in wrong:
                tab.get_by_text("A judge file").first.click()
            for name, value in choices.items():
                name_path(tab, name, path_of(tmp_path, value))
            tab.get_by_text(message).first.wait_for()
            expect(tab.get_by_role("button", name="Create the project")).to_have_count(0)
            wrong = set(choices)
        tab.get_by_text("Ready flags").first.click()
        tab.get_by_role("button", name="Create the project").wait_for()


def test_what_is_being_typed_survives_a_message_above_it(served, tab, tmp_path):
    with served(tmp_path / "workspace") as address:
        tab.goto(address)
        tab.get_by_text("My own models and pairs").click()
        field(tab, "prompts").fill("nowhere.jsonl")
        field(tab, "heldout").fill("half a pa")  # leaving the other field sends its path
        tab.get_by_text("nowhere.jsonl: no such file").wait_for()
        settle(tab)
        expect(field(tab, "heldout")).to_have_value("half a pa")
        expect(field(tab, "heldout")).to_be_focused()


def test_a_draft_survives_a_reload_of_the_browser(served, tab, tmp_path):
    with served(tmp_path / "workspace") as address:
        tab.goto(address)
        tab.get_by_text("My own models and pairs").click()
        name_path(tab, "reference", "nowhere")
        tab.get_by_text("nowhere: no such file").wait_for()
        tab.reload()
        tab.get_by_text("nowhere: no such file").wait_for()
        expect(field(tab, "reference")).to_have_value("nowhere")
