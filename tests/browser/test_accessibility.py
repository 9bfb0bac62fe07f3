"""Every page meets WCAG 2.2 AA as far as axe-core can tell, in light and dark.

`axe/axe.min.js` is axe-core 4.14.1 of npm, unchanged (Mozilla Public License 2.0).
"""

from pathlib import Path

import pytest

from tests.browser.conftest import settle
from tests.pages import workspaces

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PAGES = (
    *("overview", "data", "behaviors", "rank", "map", "clusters", "intervene", "results"),
    *("tour", "methods", "setup"),
)
# Streamlit's own, which no setting of ours reaches: the sidebar's list of pages nests a list's
# items in a `div` where a group of pages has a title.
OURS = {"include": [["body"]], "exclude": [['[data-testid="stSidebarNavItems"]']]}


def violations(tab) -> list[str]:
    """What axe-core finds, each with an element and why."""
    tab.evaluate(AXE)
    found = tab.evaluate(
        "([what, rules]) => axe.run(what, {runOnly: rules}).then(found => found.violations)",
        [OURS, RULES],
    )
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_violates_wcag_aa(served, tab, retrained, scheme):
    tab.emulate_media(color_scheme=scheme)
    found = {}
    with served(retrained.workspace) as address:
        for name in PAGES:
            tab.goto(f"{address}/{name}")
            settle(tab)
            tab.wait_for_timeout(500)  # what is still being drawn
            found |= {name: bad} if (bad := violations(tab)) else {}
    assert not found


def test_light_and_dark_are_switched_in_the_menu_for_all_pages(served, tab, investigated, store):
    dark, light = "rgb(18, 23, 29)", "rgb(255, 255, 255)"
    app = '[data-testid="stApp"]'
    background = f"() => getComputedStyle(document.querySelector('{app}')).backgroundColor"
    with served(store.workspace) as address:
        tab.goto(f"{address}/data")
        settle(tab)
        assert tab.evaluate(background) == light
        tab.get_by_label("Main menu").click()
        tab.get_by_role("menuitemradio", name="Dark").click()
        tab.wait_for_function(f"({background})() === '{dark}'")
        tab.keyboard.press("Escape")
        tab.wait_for_function("localStorage.getItem('stActiveTheme-/rank-v2') === '\"Dark\"'")
        tab.goto(f"{address}/rank")
        settle(tab)
        assert tab.evaluate(background) == dark


def test_the_tab_is_called_by_the_page_and_the_project(served, tab, investigated, store, project):
    with served(store.workspace) as address:
        for name, title in (("rank", "Rank"), ("tour", "Guided tour")):
            tab.goto(f"{address}/{name}")
            settle(tab)
            tab.wait_for_function(f"document.title === '{title} · {project.name}'")


def test_at_1000_pixels_nothing_overflows_beside_a_narrow_sidebar(served, tab, investigated, store):
    """No page is wider than the window, and the sidebar leaves three quarters of it."""
    tab.set_viewport_size({"width": 1000, "height": 800})
    with served(store.workspace) as address:
        for name in ("overview", "rank", "clusters", "results"):
            tab.goto(f"{address}/{name}")
            settle(tab)
            wide = tab.evaluate("document.querySelector('[data-testid=stMain]').clientWidth")
            assert wide >= 750
            assert tab.evaluate("document.documentElement.scrollWidth") <= 1000


def test_the_tab_says_how_far_a_job_is_and_that_it_ended(served, tab, investigated, store, project):
    spec = project.train(project.pairs, seed=0)
    run = workspaces.begin(store, spec, "running")
    with served(store.workspace) as address:
        tab.goto(f"{address}/rank")
        tab.wait_for_function(f"document.title === '30% · Rank · {project.name}'")
        tab.get_by_text("1 running, 0 waiting").wait_for()
        (store.folder(run) / "output").mkdir()
        tab.wait_for_function(f"document.title === '✓ done · Rank · {project.name}'")
        tab.get_by_role("button", name="✕").click()
        tab.wait_for_function(f"document.title === 'Rank · {project.name}'")
