"""What `bench pages` times: the gesture's own rerun, and the next one though one was missed."""

import time

import pytest

from benchmarks import _browser, pages

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(chromium, investigated, store):
    with _browser.serving(store.workspace) as (address, pid):
        yield pages.Visit(chromium, address, pid)


def test_a_step_is_timed_from_its_event_to_its_own_settled_page(visit):
    def prepare(tab):
        tab.wait_for_timeout(1000)
        return search(tab)

    search = pages.GESTURES["data"]["a phrase"]
    visit.open("data", "first")
    start = time.perf_counter()
    visit.step("a phrase", prepare)
    assert time.perf_counter() - start - visit.steps[-1]["seconds"] > 1.0
    assert "phrase=blob3" in visit.tab.page.url  # its rerun is over
    assert visit.steps[-1]["cpu"] > 0
    assert visit.steps[-1]["peak"] >= visit.steps[-1]["gb"] > visit.steps[-1]["mapped"] > 0
    assert visit.problems == []


def test_after_a_missed_gesture_the_next_one_is_measured(visit):
    visit.open("data", "first")
    visit.tab.page.set_default_timeout(500)
    visit.step("no such button", pages._press("nothing"))
    visit.tab.page.set_default_timeout(_browser.FIND_MS)
    visit.step("file order", pages._choose("Sort by", "uid"))
    missed, sorted_ = visit.steps[1:]
    assert missed["seconds"] == "missed"
    assert len(visit.problems) == 1
    assert visit.problems[0].startswith("data, no such button")
    assert sorted_["seconds"] > 0
