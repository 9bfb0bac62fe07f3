"""Set up in a browser: wrong choices, and what is typed stays, whatever else happens."""

import pytest
from playwright.sync_api import expect

from core.demo.investigation import ORGANISM
from core.specs import project as projects
from tests.browser.conftest import settle
from tests.browser.test_whole_job import MINUTES
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


def field(tab, name: str):
    return tab.get_by_role("textbox", name=LABELS[name], exact=True)


def name_path(tab, name: str, path) -> None:
    """Type a path."""
    field(tab, name).fill(str(path))
    field(tab, name).press("Enter")


def fill_in(tab, paths) -> None:
    """Every path, and wait until the project can be created."""
    for name, path in paths.items():
        name_path(tab, name, path)
    tab.get_by_text("What it will cost").wait_for(timeout=MINUTES)


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
