"""The keyboard alone: from a ranking to an edit and back, and letters typed stay letters."""

import pytest

from core.workspace.catalog import Catalog
from pages.components.tour import ADD, CHART, PROMPTS, ROWS, TRAIN, VERDICT, WORST
from tests.browser.conftest import new_tab, settle

pytestmark = pytest.mark.browser
RINGS = (WORST, PROMPTS, ROWS, CHART, ADD, TRAIN, VERDICT)  # of steps 2 to 8


def test_an_edit_is_made_and_undone_with_keys_alone(served, tab, investigated, store):
    with served(store.workspace) as address:
        tab.goto(f"{address}/rank")
        settle(tab)
        tab.get_by_role("button", name="Add 40 pairs").wait_for()
        tab.locator("h1").click()
        tab.keyboard.press("a")
        tab.get_by_text("Edit cart (1)").wait_for()

        field = tab.get_by_label("Your name, for the log")
        field.fill("")
        field.press_sequentially("anna")
        field.press("Enter")
        tab.get_by_text("Edit cart (1)").wait_for()
        assert field.input_value() == "anna"
        assert len(Catalog(store.workspace).state().cart) == 1

        tab.goto(f"{address}/intervene")
        settle(tab)
        tab.get_by_role("button", name="Undo").first.wait_for()
        tab.locator("h1").click()
        tab.keyboard.press("z")
        tab.get_by_text("Edit cart (0)").wait_for()


def test_keys_work_as_soon_as_the_text_of_a_page_is_there(served, chromium, investigated, store):
    """Also right after the first page of a browser that has loaded nothing of the app yet."""
    with served(store.workspace) as address:
        for _ in range(3):
            with new_tab(chromium) as tab:
                tab.goto(f"{address}/overview")
                settle(tab)
                tab.get_by_text("Read and name them").click()
                pane = tab.locator(".st-key-reading-pane")
                central = pane.get_by_text("Sure, here is how: step one of 5, then step two.")
                central.wait_for()
                tab.keyboard.press("j")
                central.wait_for(state="detached")


def test_the_whole_tour_is_reached_by_tabbing(served, tab, investigated, store):
    """From the top of the page, Tab comes to every button of the tour, and Enter follows."""
    with served(store.workspace) as address:
        tab.goto(f"{address}/tour")
        settle(tab)
        tab.get_by_text("Did it work?").wait_for()
        reached = []
        for _ in range(60):
            tab.keyboard.press("Tab")
            said = tab.evaluate("document.activeElement.innerText || ''").strip()
            reached.append(said)
            if said == "Go to Rank →":
                break
        assert {"Go to Overview →", "Go to Behaviors →", "Go to Rank →"} <= set(reached)
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name="Which pairs taught it?").wait_for()


def test_the_tour_walks_along_and_rings_what_to_click(served, tab, retrained):
    """From the first step to the last by its bar alone; the thing to click is on every page."""
    with served(retrained.workspace) as address:
        tab.goto(f"{address}/tour")
        settle(tab)
        tab.get_by_role("button", name="Go to Overview →").nth(1).click()
        for step, ring in enumerate(RINGS, start=2):
            tab.get_by_text(f"Step {step} of 8").wait_for()
            tab.locator(ring).first.wait_for()
            style = f"getComputedStyle(document.querySelector('{ring}')).outlineStyle"
            tab.wait_for_function(f"{style} === 'solid'")
            tab.get_by_role("button", name="Next →" if step < 8 else "Finish").click()
        tab.get_by_text("Step 8 of 8").wait_for(state="detached")
