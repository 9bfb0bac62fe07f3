"""From an empty overview to a finished retraining, with the mouse, on real models.

The embedded organism's models, with a quarter of its pairs and prompts, so that it takes a minute
or two of computing rather than ten.
"""

import pytest

from core.runs.store import Store
from tests.browser.conftest import STREAMLIT, serving, settle
from tests.small_organism import small_organism

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
MINUTES = 60_000  # in the milliseconds that Playwright counts in


@pytest.fixture
def small(tmp_path) -> Store:
    return small_organism(tmp_path)


def press(tab, name: str) -> None:
    tab.get_by_role("button", name=name).first.click()


def go_to(tab, page: str) -> None:
    tab.locator('[data-testid="stSidebarNavLink"]').get_by_text(page, exact=True).click()
    tab.wait_for_url(f"**/{page.lower()}*")
    settle(tab)


def test_from_overview_to_a_finished_retraining(tab, small):
    with serving(small.workspace, *STREAMLIT) as address:
        tab.goto(address)
        tab.get_by_text("Nothing is measured yet").wait_for()
        press(tab, "Start 5 steps")
        tab.get_by_text("Next: rank distractor-triggered compliance").wait_for(timeout=5 * MINUTES)
        press(tab, "Start 1 step")
        tab.get_by_text("Everything up to retraining is done").wait_for(timeout=5 * MINUTES)
        go_to(tab, "Rank")
        tab.get_by_text("The vector beats chance").wait_for()
        tab.get_by_role("button", name="pairs to the edit cart").click()
        tab.get_by_text("Edit cart (1)").wait_for()
        go_to(tab, "Intervene")
        seeds = tab.get_by_role("spinbutton", name="Training seeds per arm")
        seeds.fill("1")
        seeds.press("Enter")
        press(tab, "Start: 6 runs")
        tab.get_by_text("Every arm is trained and measured").wait_for(timeout=8 * MINUTES)
        go_to(tab, "Results")
        tab.get_by_text("Edited minus control").first.wait_for()
        for arm in ("reference", "policy", "random control", "edited"):
            tab.get_by_text(f"{arm}: ").first.wait_for()
    assert len(small.finished("train")) == 2
    assert not small.infos(state="failed")
