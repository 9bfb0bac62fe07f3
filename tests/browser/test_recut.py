"""The map cut finer with the slider: a real job, and a name carried over."""

import re

import pytest

from core.workspace.catalog import Catalog
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser


def test_cut_finer_show_it_and_carry_a_name_over(served, tab, store, investigated):
    base, catalog = investigated["discover"], Catalog(store.workspace)
    catalog.rename(base, 1, "lock picking", who="ben", why="read ten")
    with served(store.workspace) as address:
        tab.goto(f"{address}/clusters")
        settle(tab)
        tab.get_by_text("Coarser or finer").click()
        slider = tab.get_by_role("slider", name="Groups on the map")
        for _ in range(2):  # as discovered, 2, 3
            slider.press("ArrowRight")
        tab.get_by_text(re.compile(f"--recut {base} --level 0.499")).wait_for(state="attached")
        tab.get_by_role("button", name="Cut it here").click()
        tab.get_by_role("button", name="Show this cut").click()
        tab.locator('input[aria-label="Map"][value*="cut into 3"]').wait_for()
        settle(tab)
        tab.get_by_role("button", name="Carry over").click()
        tab.get_by_text("2 · lock picking").first.wait_for(state="attached")
        tab.get_by_text("Labels of earlier maps").wait_for(state="detached")
    (made,) = [run for run in store.finished("discover") if run != base]
    state = catalog.state()
    assert state.of(made).names == {2: "lock picking"}
    assert state.of(base).names == {1: "lock picking"}
    last = catalog.events()[-1]
    assert (last.who, last.why) == ("analyst", f"from {base}, cluster 1")
