"""Set up in a browser: what is typed stays, whatever else happens on the page."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import settle

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
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
