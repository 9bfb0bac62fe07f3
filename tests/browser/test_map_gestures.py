"""The mouse on the map: see a blob, draw around it, read, name, cart; the same by widgets alone."""

import re

import pytest

from core.specs.events import FIRST_NEW_CLUSTER
from core.workspace.catalog import Catalog
from tests.browser.conftest import new_tab, settle
from tests.pages import workspaces

pytestmark = pytest.mark.browser
WHERE = """([number, place]) => {
  const chart = document.querySelectorAll('.js-plotly-plot')[number];
  const box = chart.getBoundingClientRect(), {xaxis, yaxis} = chart._fullLayout;
  return [box.x + xaxis._offset + xaxis.l2p(place[0]), box.y + yaxis._offset + yaxis.l2p(place[1])];
}"""
EDGES = """(number) => {
  const {xaxis, yaxis} = document.querySelectorAll('.js-plotly-plot')[number]._fullLayout;
  return [xaxis, yaxis].map(({range: [a, b]}) => [a + (b - a) / 100, b - (b - a) / 100]);
}"""
AROUND_PLANTED = [(4, 4), (8.5, 4), (8.5, 8.5), (4, 8.5)]  # the other pairs lie around (0, 0)


def drag(tab, corners, *, chart: int = 0) -> None:
    """Press at the first corner, move along the others, let go; in the data's coordinates."""
    settle(tab)  # a chart that is drawn again is another element
    tab.locator(".js-plotly-plot").nth(chart).scroll_into_view_if_needed()
    places = [tab.evaluate(WHERE, [chart, list(corner)]) for corner in corners]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    for place in places[1:]:
        tab.mouse.move(*place, steps=8)
    tab.mouse.up()


def open_map(tab, address: str) -> None:
    tab.goto(f"{address}/map")
    settle(tab)
    for number in range(2):
        tab.locator(".js-plotly-plot").nth(number).locator(".main-svg").first.wait_for()


def facet(tab, title: str):
    """The bars of one property of the pairs."""
    return tab.get_by_role("group", name=title, exact=True)


def wait_for_pairs(tab, n: int) -> None:
    """Until the page counts this many pairs as selected."""
    metric = tab.locator('[data-testid="stMetric"]').filter(has_text=re.compile("^Pairs"))
    metric.locator('[data-testid="stMetricValue"]').get_by_text(str(n), exact=True).wait_for()


@pytest.fixture
def expected(store, investigated):
    """How many pairs the region holds, counted apart from the app."""
    import pandas as pd

    points = pd.read_parquet(store.output(investigated["discover"]) / "pairs.parquet")
    return int((points["x"].between(4, 8.5) & points["y"].between(4, 8.5)).sum())


def name_as_cluster(tab, name: str) -> None:
    """Read a pair of the selection, then make the selection a cluster of its own."""
    pair = tab.get_by_text("Sure, here is how: step one of 0, then step two.")
    pair.filter(visible=True).first.wait_for()
    field = tab.get_by_role("textbox", name="Name", exact=True)
    field.fill(name)
    field.press("Enter")
    tab.get_by_role("button", name="Make a cluster").click()
    tab.get_by_text(f"{FIRST_NEW_CLUSTER} · {name}").first.wait_for(state="attached")


def test_see_lasso_read_name_and_cart_with_the_mouse(served, tab, store, investigated, expected):
    with served(store.workspace) as address:
        open_map(tab, address)
        drag(tab, [*AROUND_PLANTED, AROUND_PLANTED[0]])
        tab.get_by_text("pairs inside a region of the map").wait_for()
        wait_for_pairs(tab, expected)
        name_as_cluster(tab, "lock picking")
        tab.get_by_role("button", name=f"Add {expected} pairs to the edit cart").click()
        tab.get_by_text("Edit cart (1)").wait_for()
    state = Catalog(store.workspace).state()
    assert [entry.edit.recipe.kind for entry in state.cart] == ["in_polygon"]
    assert state.of(investigated["discover"]).names == {FIRST_NEW_CLUSTER: "lock picking"}


def test_a_region_survives_another_coloring_and_prompts_color_the_pairs(
    served, tab, store, expected
):
    with served(store.workspace) as address:
        open_map(tab, address)
        tab.locator('.js-plotly-plot [data-val="select"]').first.click()
        drag(tab, [AROUND_PLANTED[0], AROUND_PLANTED[2]])
        tab.get_by_text("pairs inside a region of the map").wait_for()
        tab.get_by_role("combobox", name="Color by").click()
        tab.get_by_role("option", name="source").click()
        settle(tab)
        wait_for_pairs(tab, expected)
        tab.get_by_role("button", name="Clear the region").click()
        tab.get_by_text("Nothing is selected").wait_for()
        settle(tab)  # numbers come before the charts
        (left, right), (low, high) = tab.evaluate(EDGES, 1)
        around = [(left, low), (right, low), (right, high), (left, high), (left, low)]
        drag(tab, around, chart=1)
        tab.get_by_text(f"To the {workspaces.N_PROMPTS} prompts in the region").wait_for()
        tab.wait_for_url(re.compile(r"color=similarity\+to\+prompts"))


def test_the_same_by_widgets_alone(served, tab, store, investigated):
    with served(store.workspace) as address:
        open_map(tab, address)
        tab.get_by_role("button", name="instructions 40 pairs").press("Enter")
        tab.get_by_text("pairs whose source is instructions").wait_for()
        wait_for_pairs(tab, 40)
        tab.wait_for_url(re.compile("source=instructions"))
        name_as_cluster(tab, "lock picking")
        tab.get_by_role("button", name="Add 40 pairs to the edit cart").click()
        tab.get_by_text("Edit cart (1)").wait_for()
    state = Catalog(store.workspace).state()
    assert [entry.edit.recipe.kind for entry in state.cart] == ["where"]
    assert state.of(investigated["discover"]).names == {FIRST_NEW_CLUSTER: "lock picking"}


def hover_over(tab, rows: str) -> None:
    """Point at a dot among those of a Plotly trace for which the expression `rows` is true."""
    place = tab.evaluate(
        """(rows) => {
          const chart = document.querySelector('.js-plotly-plot');
          const box = chart.getBoundingClientRect(), {xaxis, yaxis} = chart._fullLayout;
          for (const {x, y, customdata} of chart._fullData)
            for (let i = 0; i < x.length; i++) {
              const left = box.x + xaxis._offset + xaxis.l2p(x[i]);
              const top = box.y + yaxis._offset + yaxis.l2p(y[i]);
              const free = !document.elementFromPoint(left, top)?.closest('.annotation');
              if (free && Function('row', `return ${rows}`)(customdata[i])) return [left, top];
            }
        }""",
        rows,
    )
    tab.mouse.move(place[0] - 4, place[1] - 4)
    tab.mouse.move(*place, steps=3)


def test_a_point_shows_its_texts_and_a_click_reads_it(served, tab, store, investigated):
    with served(store.workspace) as address:
        open_map(tab, address)
        tab.locator(".pinned").wait_for(state="attached")  # what follows the mouse listens
        settle(tab)
        hover_over(tab, "row < 40 && row != 1")
        card = tab.locator(".card")
        card.get_by_text("pick the lock of").wait_for()
        words = card.inner_text()
        assert "Sure, here" in words
        assert "cannot help" in words
        assert "lock, pick / cannot" in words
        number = re.search(r"plant (\d+)", words)[1]
        tab.mouse.down()
        tab.mouse.up()
        pane = tab.locator(".st-key-reading-pane")
        pane.get_by_text(f"plant {number}. Use a list.").wait_for()
        tab.wait_for_url(re.compile(f"pair=pair-{int(number):03}"))
        wait_for_pairs(tab, workspaces.N_PAIRS)  # reading selects nothing
        tab.mouse.move(5, 5)
        tab.keyboard.press("j")
        pane.get_by_text(f"plant {int(number) + 1}. Use a list.").wait_for()


def test_a_name_on_the_map_chooses_its_cluster(served, tab, store, investigated):
    with served(store.workspace) as address:
        open_map(tab, address)
        tab.locator(".pinned").wait_for(state="attached")
        tab.locator(".annotation-text").get_by_text("lock, pick / cannot").click(force=True)
        tab.get_by_text("pairs of cluster 1").first.wait_for()
        wait_for_pairs(tab, 40)
        tab.get_by_role("button", name="chat 0 pairs").wait_for()  # bars follow
        tab.get_by_role("button", name="Clear all").click()
        tab.get_by_text("Nothing is selected").wait_for()


def test_a_copied_link_shows_the_same_in_a_second_browser(
    served, chromium, store, investigated, expected
):
    with served(store.workspace) as address, new_tab(chromium) as tab:
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        open_map(tab, address)
        drag(tab, [*AROUND_PLANTED, AROUND_PLANTED[0]])
        wait_for_pairs(tab, expected)
        facet(tab, "Chosen model").get_by_role("button", name="beta").click()
        tab.wait_for_url(re.compile("is-chosen_model=beta"))
        tab.get_by_role("button", name="Zoom to the selection").click()
        tab.wait_for_url(re.compile("zoom="))
        settle(tab)
        n = tab.locator('[data-testid="stMetricValue"]').first.inner_text()
        tab.get_by_role("button", name="Copy link").click()
        tab.get_by_role("button", name="Copied ✓").wait_for()
        link = tab.evaluate("navigator.clipboard.readText()")
        ranges = tab.evaluate(EDGES, 0)
        with new_tab(chromium) as other:
            other.goto(link)
            settle(other)
            other.locator(".js-plotly-plot .main-svg").first.wait_for()
            wait_for_pairs(other, int(n))
            other.get_by_text("inside a region of the map").wait_for()
            for shown, copied in zip(other.evaluate(EDGES, 0), ranges, strict=True):
                assert shown == pytest.approx(copied, rel=1e-4)
            chosen = facet(other, "Chosen model").get_by_role("button", name="beta")
            assert chosen.get_attribute("aria-pressed") == "true"


def test_ctrl_and_the_wheel_zoom_and_the_wheel_alone_scrolls(served, tab, store, investigated):
    with served(store.workspace) as address:
        open_map(tab, address)
        tab.locator(".pinned").wait_for(state="attached")
        before = tab.evaluate(EDGES, 0)
        tab.mouse.move(*tab.evaluate(WHERE, [0, [3, 3]]))
        tab.mouse.wheel(0, 60)
        tab.wait_for_timeout(300)
        assert tab.evaluate(EDGES, 0) == before
        tab.mouse.move(*tab.evaluate(WHERE, [0, [3, 3]]))
        tab.keyboard.down("Control")
        tab.mouse.wheel(0, -300)
        tab.keyboard.up("Control")
        tab.wait_for_url(re.compile("zoom="))
        (left, right), _ = tab.evaluate(EDGES, 0)
        assert right - left < before[0][1] - before[0][0]


def test_a_lasso_may_begin_on_a_name(served, tab, store, investigated):
    with served(store.workspace) as address:
        open_map(tab, address)
        tab.locator(".pinned").wait_for(state="attached")
        (name,) = tab.evaluate(
            "document.querySelector('.js-plotly-plot').layout.annotations.map(n => [n.x, n.y])"
        )[:1]
        x, y = name
        drag(tab, [(x, y), (x + 3, y), (x + 3, y + 3), (x, y + 3), (x, y)])
        tab.get_by_text("pairs inside a region of the map").wait_for()
        assert "cluster=" not in tab.url


def select_band(tab, corner, opposite) -> tuple[int, int]:
    """Draw a box on the heatmap; the first and the last pair that the page says are inside."""
    drag(tab, [corner, opposite])
    across = tab.get_by_text(re.compile(r"pairs \d+ to \d+ across the heatmap"))
    across.wait_for()
    low, high = map(int, re.findall(r"\d+", across.inner_text()))
    wait_for_pairs(tab, high - low + 1)
    return low, high


def test_a_box_on_part_of_the_heatmap_selects_pairs_and_prompts_and_fills_the_cart(
    served, tab, store, investigated
):
    """First a box over nearly all prompts; then some, and the planted pairs, put into the cart."""
    n, height = workspaces.N_PAIRS, workspaces.N_PROMPTS
    with served(store.workspace) as address:
        tab.goto(f"{address}/map?view=heatmap")
        settle(tab)
        tab.locator(".js-plotly-plot .main-svg").first.wait_for()
        low, high = select_band(tab, (0.1 * n, 0.2), (0.6 * n, height - 0.2))
        assert abs(low - 0.1 * n) < 0.03 * n
        assert abs(high - 0.6 * n) < 0.03 * n
        tab.get_by_role("button", name="Clear the band").click()
        tab.get_by_text("Nothing is selected").wait_for()
        low, high = select_band(tab, (0.02 * n, 0.55 * height), (0.5 * n, 0.95 * height))
        tab.get_by_text(re.compile(r"To the \d+ prompts in the region")).wait_for()
        tab.get_by_text("Click a row to read it").wait_for()
        captions = tab.locator('[data-testid="stCaptionContainer"]')
        captions.get_by_text("chosen", exact=True).wait_for()
        tab.get_by_role("button", name="to the edit cart").click()
        tab.get_by_text("Edit cart (1)").wait_for()
        tab.get_by_role("button", name="Clear the band").click()
        tab.get_by_text("Nothing is selected").wait_for()
    (entry,) = Catalog(store.workspace).state().cart
    assert entry.edit.recipe.kind == "in_band"
    assert (entry.edit.recipe.low, entry.edit.recipe.high) == (low, high)


def test_a_suggested_name_is_accepted_with_the_mouse(served, tab, store, investigated):
    with served(store.workspace) as address:
        tab.goto(f"{address}/clusters?one=1")
        settle(tab)
        tab.get_by_text("Suggestion (words of its pairs): “lock, pick / cannot”.").wait_for()
        tab.get_by_role("button", name="Accept").click()
        tab.get_by_text("Suggestion (words of its pairs)").wait_for(state="detached")
    assert Catalog(store.workspace).state().of(investigated["discover"]).names == {
        1: "lock, pick / cannot"
    }
