"""From an empty overview to measured retrainings, with the mouse alone, on real models.

The embedded organism's models with few of its pairs and prompts, so that it takes a minute or two
of computing rather than ten. The edit is a lasso around a cluster of the map.
"""

import re

import pandas as pd
import pytest

from core.runs.store import Store
from core.workspace.catalog import Catalog
from tests.browser.conftest import settle
from tests.browser.test_map_gestures import drag
from tests.small_organism import small_organism

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
MINUTES = 60_000  # in the milliseconds that Playwright counts in


@pytest.fixture
def small(tmp_path) -> Store:
    return small_organism(tmp_path)


def press(tab, name: str) -> None:
    tab.get_by_role("button", name=re.compile(name)).first.click()


def go_to(tab, page: str) -> None:
    tab.locator('[data-testid="stSidebarNavLink"]').get_by_text(page, exact=True).click()
    tab.wait_for_url(f"**/{page.lower()}*")
    settle(tab)


def retrain_edited_and_control(tab) -> None:
    """On Intervene: both arms with one seed and without a baseline, then Results."""
    for less in ("2", "1"):  # from three seeds to one
        tab.get_by_test_id("stNumberInputStepDown").last.click()
        tab.locator(f'[aria-label="Training seeds per arm"][value="{less}"]').wait_for()
    tab.get_by_text("Baseline: retrain on the unedited pairs too").click()
    press(tab, "Start: 6 runs")
    tab.get_by_text("Every arm is trained and measured").wait_for(timeout=8 * MINUTES)
    go_to(tab, "Results")
    tab.get_by_text("Not yet proven (1 training seed)").first.wait_for()


def around_cluster(store: Store) -> list[tuple[float, float]]:
    """A closed path around the cluster that pushes its kind of prompts furthest."""
    output = store.output(store.newest("discover"))
    clusters = pd.read_parquet(output / "clusters.parquet").set_index("cluster")
    points = pd.read_parquet(output / "pairs.parquet")
    own = points[points["cluster"] == clusters["top_group_similarity"].idxmax()]
    (left, low), (right, high) = own[["x", "y"]].min(), own[["x", "y"]].max()
    wide, tall = 0.1 * (right - left), 0.1 * (high - low)
    left, right, low, high = left - wide, right + wide, low - tall, high + tall
    return [(left, low), (right, low), (right, high), (left, high), (left, low)]


def test_from_overview_by_a_lasso_to_measured_retrainings(served, tab, small):
    with served(small.workspace) as address:
        tab.goto(address)
        tab.get_by_text("Nothing is measured yet").wait_for()
        press(tab, r"Start \d+ steps")
        tab.get_by_text("Next: rank distractor-triggered compliance").wait_for(timeout=5 * MINUTES)
        press(tab, "Start 1 step")
        tab.get_by_text("Everything up to retraining is done").wait_for(timeout=5 * MINUTES)
        go_to(tab, "Map")
        tab.locator(".js-plotly-plot").nth(1).locator(".main-svg").first.wait_for()
        drag(tab, around_cluster(small))
        tab.get_by_text("pairs inside a region of the map").wait_for()
        press(tab, r"Add [\d,]+ pairs to the edit cart")
        tab.get_by_text("Edit cart (1)").wait_for()
        go_to(tab, "Intervene")
        tab.get_by_text("What it should do, and what would move with it").wait_for()
        retrain_edited_and_control(tab)
        tab.get_by_role("button", name="Prove it: 2 more seeds").wait_for()
        tab.get_by_role("tab", name="Predicted and measured").click()
        tab.get_by_text("retrainings say little").wait_for()
    (entry,) = Catalog(small.workspace).state().cart
    assert (entry.edit.action, entry.edit.recipe.kind) == ("remove", "in_polygon")
    assert len(small.finished("train")) == 2
    assert not small.infos(state="failed")
