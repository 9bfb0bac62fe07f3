"""Reading with the mouse: a click anywhere in a row, J and K, and an answer to every action."""

import re

import pytest

from core.workspace.catalog import Catalog
from tests.browser.conftest import settle, until

pytestmark = pytest.mark.browser


def test_a_click_on_the_text_of_a_row_reads_it_and_j_goes_on(served, tab, store, investigated):
    with served(store.workspace) as address:
        tab.goto(f"{address}/rank")
        settle(tab)
        pane = tab.locator(".st-key-reading-pane")
        pane.get_by_text("rank 1 of 400").wait_for()
        table = tab.locator('[data-testid="stDataFrame"]').first
        table.scroll_into_view_if_needed()
        table.click(position={"x": 300, "y": 55 + 3 * 35})
        pane.get_by_text("rank 4 of 400").wait_for()
        tab.keyboard.press("Escape")
        tab.locator("h2").first.click()
        tab.keyboard.press("j")
        pane.get_by_text("rank 5 of 400").wait_for()
        tab.keyboard.press("k")
        pane.get_by_text("rank 4 of 400").wait_for()
        assert pane.bounding_box()["y"] < 900  # still in sight


def test_what_is_added_is_answered_and_taken_back(served, tab, store, investigated):
    with served(store.workspace) as address:
        tab.goto(f"{address}/rank?k=7")
        settle(tab)
        tab.get_by_role("button", name="Add 7 pairs to the edit cart").click()
        toast = tab.locator('[data-testid="stToast"]')
        toast.get_by_text(re.compile("Cart: remove the top 7 pairs")).wait_for()
        tab.get_by_text("In the edit cart: remove 7 pairs.").wait_for()
        tab.get_by_role("button", name="Undo", exact=True).click()
        tab.get_by_role("button", name="Add 7 pairs to the edit cart").wait_for()
        until(lambda: Catalog(store.workspace).state().cart, ())
