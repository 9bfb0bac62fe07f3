"""A link to any page works as the first request that a fresh server ever gets."""

import pytest

from tests.browser.conftest import PAIRTRACE, STREAMLIT, serving, settle

pytestmark = pytest.mark.browser
NAMES = [
    *("Overview", "Data", "Behaviors", "Rank", "Map", "Clusters", "Intervene", "Results"),
    *("Guided tour", "Methods"),
]


def navigation(tab) -> list[str]:
    return tab.locator('[data-testid="stSidebarNavLink"]').all_inner_texts()


@pytest.mark.parametrize("command", [STREAMLIT, PAIRTRACE], ids=["streamlit", "pairtrace"])
def test_a_deep_link_to_a_fresh_server_shows_the_shell_and_its_choices(
    tab, store, investigated, command
):
    with serving(store.workspace, *command) as address:
        tab.goto(f"{address}/rank?score=similarity&k=7")
        settle(tab)
        assert tab.locator("h1").inner_text() == "Which pairs taught it?"
        assert navigation(tab) == NAMES
        tab.get_by_text("Edit cart (0)").wait_for()
        tab.get_by_role("button", name="Add 7 pairs to the edit cart").wait_for()


def test_the_address_without_a_page_opens_the_overview(tab, store, investigated):
    with serving(store.workspace, *STREAMLIT) as address:
        tab.goto(address)
        tab.wait_for_url(f"{address}/overview")
        settle(tab)
        assert navigation(tab) == NAMES
        assert not tab.get_by_text("Page not found").is_visible()
