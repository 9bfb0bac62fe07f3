"""Discovery without a mouse: from an alarm to the edit, and a box on the map; keys alone."""

import re

import pytest

from core.specs.recipes import InBand, InPolygon
from core.workspace.catalog import Catalog
from tests.browser.conftest import settle, until
from tests.browser.test_map_gestures import open_map, wait_for_pairs

pytestmark = pytest.mark.browser
FOCUSED = """() => {
  const held = document.activeElement;
  return held.getAttribute('aria-label') || held.innerText || '';
}"""
MOST = 120  # Tabs until whatever is looked for must have come


def reach(tab, name: str, *, key: str = "Tab") -> None:
    """Press Tab until what has the focus is called so."""
    passed = []
    for _ in range(MOST):
        tab.keyboard.press(key)
        passed.append(" ".join(tab.evaluate(FOCUSED).split())[:80])
        if re.search(name, passed[-1]):
            return
    raise AssertionError(f"{name} is not reached by {key}; passed: {passed}")


def test_a_suspicious_cluster_is_read_named_marked_and_sent_to_the_edit(
    served, tab, store, investigated
):
    catalog, run = Catalog(store.workspace), investigated["discover"]
    with served(store.workspace) as address:
        tab.goto(f"{address}/overview")
        settle(tab)
        tab.get_by_text("Read and name them").wait_for()
        reach(tab, "Read and name them")
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name="What is in the data?").wait_for()
        tab.get_by_role("heading", name="Cluster 1").wait_for()
        settle(tab)

        pane = tab.locator(".st-key-reading-pane")
        central = pane.get_by_text("Sure, here is how: step one of 5, then step two.")
        central.wait_for()
        tab.keyboard.press("j")
        central.wait_for(state="detached")
        tab.keyboard.press("k")
        central.wait_for()

        reach(tab, "^Name$")
        tab.keyboard.type("jack the lock")  # letters that are shortcuts stay letters
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name="jack the lock").wait_for()
        settle(tab)
        reach(tab, "^Mark$")
        tab.keyboard.type("harm")
        tab.get_by_role("option", name="harmful").wait_for()
        tab.keyboard.press("Enter")
        until(lambda: catalog.state().of(run).marks, {1: "harmful"})
        settle(tab)

        reach(tab, "Add 40 pairs to the edit cart")
        tab.keyboard.press("a")
        tab.get_by_text("Edit cart (1)").wait_for()
        settle(tab)
        reach(tab, "Try it: edit and retrain", key="Shift+Tab")
        tab.keyboard.press("Enter")
        tab.get_by_text("What it should do, and what would move with it").wait_for()
    state = catalog.state()
    assert state.of(run).names == {1: "jack the lock"}
    assert [(e.edit.action, e.edit.why) for e in state.cart] == [("remove", "1 · jack the lock")]


def test_a_box_on_the_map_is_drawn_read_and_carted_with_arrow_keys(
    served, tab, store, investigated
):
    with served(store.workspace) as address:
        open_map(tab, address)
        reach(tab, "Draw a box with the keyboard")
        tab.keyboard.press("Enter")
        reach(tab, "^From the left, %")
        for share in range(1, 51):  # the left end, step by step, up to the middle
            tab.keyboard.press("ArrowRight")
            if share % 10 == 0:
                settle(tab)
        tab.get_by_text("pairs inside a region of the map").wait_for()
        settle(tab)
        wait_for_pairs(tab, 40)
        reach(tab, "Add 40 pairs to the edit cart")
        tab.keyboard.press("Enter")
        tab.get_by_text("Edit cart (1)").wait_for()
    (entry,) = Catalog(store.workspace).state().cart
    assert isinstance(entry.edit.recipe, InPolygon)


def test_a_band_of_the_heatmap_is_brushed_step_by_step_with_arrow_keys(
    served, tab, store, investigated
):
    """The slider keeps the focus although the chart above it is drawn anew at every step."""
    with served(store.workspace) as address:
        tab.goto(f"{address}/map?view=heatmap")
        settle(tab)
        tab.locator(".js-plotly-plot .main-svg").first.wait_for()
        reach(tab, "^Pairs from the left — start")
        for low in (1, 2, 3):
            tab.keyboard.press("ArrowRight")
            tab.get_by_text(f"pairs {low} to 399 across the heatmap").wait_for()
            settle(tab)
        reach(tab, "Add 397 pairs to the edit cart")
        tab.keyboard.press("Enter")
        tab.get_by_text("Edit cart (1)").wait_for()
    (entry,) = Catalog(store.workspace).state().cart
    assert entry.edit.recipe == InBand(discover=investigated["discover"], low=3, high=399)
