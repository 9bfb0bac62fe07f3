"""Two people at one map: what one names stays chosen for the other; each undoes their own."""

import re

import pytest

from core.workspace.catalog import Catalog
from tests.browser.conftest import settle, until

pytestmark = pytest.mark.browser


def sign(tab, who: str) -> None:
    """Give the name under which changes are logged."""
    field = tab.get_by_role("textbox", name="Your name, for the log")
    field.fill(who)
    field.press("Enter")
    settle(tab)


def press(tab, label: str) -> None:
    tab.get_by_role("button", name=re.compile(label)).click()
    settle(tab)


def name(tab, given: str) -> None:
    """Name the cluster that is looked at."""
    field = tab.get_by_role("textbox", name="Name", exact=True)
    field.fill(given)
    field.press("Enter")
    tab.get_by_text(f"“{given}”").first.wait_for(state="attached")  # in the history


def test_changes_of_two_people_are_all_kept_and_each_undoes_their_own(
    served, tab, other_tab, store, investigated
):
    run, catalog = investigated["discover"], Catalog(store.workspace)

    def names():
        return catalog.state().of(run).names

    with served(store.workspace) as address:
        tab.goto(f"{address}/map?cluster=1")
        other_tab.goto(f"{address}/clusters?one=1")
        for page, who in ((tab, "ann"), (other_tab, "ben")):
            settle(page)
            sign(page, who)
        name(other_tab, "lock picking")
        chosen = tab.get_by_role("textbox", name="Name", exact=True)
        chosen.fill("what ann selected")  # her page learns of the other's name with this rerun
        chosen.press("Enter")
        tab.get_by_text("1 · lock picking").first.wait_for()
        tab.get_by_text("pairs of cluster 1").first.wait_for()
        press(tab, "^Save$")
        until(lambda: set(catalog.state().selections), {"what ann selected"})
        tab.goto(f"{address}/clusters?one=0")
        settle(tab)
        sign(tab, "ann")
        name(tab, "gardening")
        until(names, {0: "gardening", 1: "lock picking"})

        press(other_tab, "Undo my last change")
        until(names, {0: "gardening"})
        press(tab, "Undo my last change")
        until(names, {})
        press(other_tab, "Redo")
        until(names, {1: "lock picking"})
        press(tab, "Redo")
        for page, cluster in ((tab, "0 · gardening"), (other_tab, "1 · lock picking")):
            page.locator(f'input[aria-label="Cluster"][value="{cluster}"]').wait_for()
    assert names() == {0: "gardening", 1: "lock picking"}
    assert [event.who for event in catalog.events()] == [
        *("ben", "ann", "ann"),
        *("ben", "ann", "ben", "ann"),  # undone and done again
    ]
