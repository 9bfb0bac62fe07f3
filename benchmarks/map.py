"""Speed of the map page over 378k pairs, in a headless Chromium: first paint, gestures, traffic.

A new server on a workspace of random blobs (`_large_workspace`). `first_ever` includes the copy of
the pairs that pages read; `fresh_server` is the first visitor of a server, `visit` a later one. A
lasso is timed from the release of the mouse to the number of selected pairs on the page, and that
number is compared with an independent count; a facet likewise from its click; a hover from the
mouse's move to the card. `cpu` is the server's CPU-seconds, `cpu_to_count` those until the number:
they hardly depend on other load.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from benchmarks import _browser, _large_workspace
from core.runs.store import Store

LASSOS, HOVERS = 5, 8
PAUSE_MS = 500  # of a page at rest, in which nothing follows
MOST_SECONDS = 120  # that a gesture may take
FACETS = ("math", "web")  # sources
WHERE = """(place) => {
  const chart = document.querySelector('.js-plotly-plot');
  const box = chart.getBoundingClientRect(), {xaxis, yaxis} = chart._fullLayout;
  return [box.x + xaxis._offset + xaxis.l2p(place[0]), box.y + yaxis._offset + yaxis.l2p(place[1])];
}"""

CARRIERS = """(most) => {
  const chart = document.querySelector('.js-plotly-plot'), {x, y} = chart._fullData.at(-1);
  const box = chart.getBoundingClientRect(), {xaxis, yaxis} = chart._fullLayout, places = [];
  for (let i = 0; i < x.length && places.length < most; i += 37) {
    const left = box.x + xaxis._offset + xaxis.l2p(x[i]);
    const top = box.y + yaxis._offset + yaxis.l2p(y[i]);
    if (!document.elementFromPoint(left, top)?.closest('.annotation')) places.push([left, top]);
  }
  return places;
}"""


def run() -> dict[str, Any]:
    """Write the workspace to a temporary folder, measure, delete it."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(_large_workspace.write(Path(folder)))


def measure(store: Store) -> dict[str, Any]:
    """Wall-clock seconds and bytes, on an existing workspace."""
    with _browser.chromium() as browser:
        figures: dict[str, Any] = {"pairs": _large_workspace.PAIRS, "load": os.getloadavg()[0]}
        with _browser.serving(store.workspace) as (address, pid):
            figures["first_ever_seconds"] = _Visit(browser, address, pid).seconds
        with _browser.serving(store.workspace) as (address, pid):
            first = _Visit(browser, address, pid)
            figures |= {"fresh_server_seconds": first.seconds, "fresh_server_cpu": first.cpu()}
            visit = _Visit(browser, address, pid)
            figures |= {"visit_seconds": visit.seconds, "visit_cpu": visit.cpu()}
            figures["visit_bytes_down"] = visit.down
            figures["lassos"] = [_lasso(visit, store, number) for number in range(LASSOS)]
            visit.click("Clear the region")
            figures["hover_ms"] = _hovers(visit)
            figures["facets"] = [_facet(visit, name) for name in FACETS]
    return figures


class _Visit:
    """A tab on the map, once it is painted; counts the bytes of its socket."""

    def __init__(self, browser: Any, address: str, pid: int) -> None:
        self.down = self.up = 0
        self._server = psutil.Process(pid)
        self._before = 0.0
        self.cpu()
        self.tab = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        self.tab.set_default_timeout(600_000)  # the first visit ever copies the pairs
        self.tab.on("websocket", self._count)
        start = time.perf_counter()
        self.tab.goto(f"{address}/map")
        self.tab.locator(".js-plotly-plot .imagelayer image, .layer-below image").first.wait_for()
        self.seconds = round(time.perf_counter() - start, 2)
        self.settle()

    def settle(self) -> None:
        self.tab.locator(".js-plotly-plot").nth(1).locator(".main-svg").first.wait_for()
        self.tab.wait_for_function(_browser.AT_REST)
        self.tab.wait_for_timeout(PAUSE_MS)

    def click(self, name: str) -> None:
        self.tab.get_by_role("button", name=name).click()
        self.settle()

    def cpu(self) -> float:
        """CPU-seconds of the server since this was asked last."""
        spent = sum(self._server.cpu_times()[:2])
        since, self._before = round(spent - self._before, 2), spent
        return since

    def _count(self, socket_: Any) -> None:
        def received(body: Any) -> None:
            self.down += len(body)

        def sent(body: Any) -> None:
            self.up += len(body)

        socket_.on("framereceived", received)
        socket_.on("framesent", sent)


def _lasso(visit: _Visit, store: Store, number: int) -> dict[str, Any]:
    """Draw around one blob: seconds until the count, bytes, and the expected count."""
    points = pd.read_parquet(store.output(store.newest("discover")) / "pairs.parquet")
    blob = points[points["cluster"] == 3 * number]
    x, y = float(blob["x"].median()), float(blob["y"].median())
    angles = np.linspace(0, 2 * np.pi, 24)
    corners = [[x + 0.8 * np.cos(a), y + 0.8 * np.sin(a)] for a in angles]
    places = [visit.tab.evaluate(WHERE, corner) for corner in corners]
    visit.down = visit.up = 0
    visit.cpu()
    visit.tab.mouse.move(*places[0])
    visit.tab.mouse.down()
    for place in places[1:]:
        visit.tab.mouse.move(*place)
    counted = _until_counted(visit, visit.tab.mouse.up)
    settled = _settled(visit, counted)
    path = visit.tab.evaluate("document.querySelector('.js-plotly-plot').layout.shapes[0].path")
    drawn = [tuple(map(float, corner.split(","))) for corner in re.findall(r"[^MLZ]+", path)]
    expected = _inside(points["x"].to_numpy(float), points["y"].to_numpy(float), drawn)
    counts = {"selected": _selected(visit), "inside_by_another_rule": expected}
    return counted | settled | counts | {"bytes_up": visit.up}


def _facet(visit: _Visit, name: str) -> dict[str, Any]:
    """Choose an option of a facet: seconds until the count, and bytes."""
    visit.down = 0
    visit.cpu()
    counted = _until_counted(visit, visit.tab.locator(".option").filter(has_text=name).click)
    return counted | _settled(visit, counted)


def _hovers(visit: _Visit) -> list[int]:
    """Milliseconds from a move onto a point to its card, for some points."""
    waits = []
    for place in visit.tab.evaluate(CARRIERS, HOVERS):
        visit.tab.mouse.move(5, 5)
        visit.tab.locator(".card").wait_for(state="hidden")
        start = time.perf_counter()
        visit.tab.mouse.move(*place)
        visit.tab.locator(".card").wait_for()
        waits.append(round(1000 * (time.perf_counter() - start)))
    return waits


def _until_counted(visit: _Visit, act: Callable[[], Any]) -> dict[str, float]:
    """From an event to another number of selected pairs; `TimeoutError` if none comes."""
    before = _selected(visit)
    start = time.perf_counter()
    act()
    while _selected(visit) == before:
        visit.tab.wait_for_timeout(10)
        if time.perf_counter() - start > MOST_SECONDS:
            raise TimeoutError(f"the number of selected pairs is still {before:,}")
    return {"seconds": round(time.perf_counter() - start, 2), "cpu_to_count": visit.cpu()}


def _settled(visit: _Visit, counted: dict[str, float]) -> dict[str, float]:
    """What a gesture has cost once the page is at rest."""
    start = time.perf_counter()
    visit.settle()
    settled = counted["seconds"] + time.perf_counter() - start - PAUSE_MS / 1000
    cpu = counted["cpu_to_count"] + visit.cpu()
    return {"settled_seconds": round(settled, 2), "cpu": round(cpu, 2), "bytes_down": visit.down}


def _inside(x: np.ndarray, y: np.ndarray, corners: list[tuple[float, float]]) -> int:
    """Number of points inside a polygon, by winding number; the app uses another rule."""
    turned = np.zeros(len(x))
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        cross = (ax - x) * (by - y) - (ay - y) * (bx - x)
        turned += np.arctan2(cross, (ax - x) * (bx - x) + (ay - y) * (by - y))
    return int((np.rint(turned / (2 * np.pi)) % 2 != 0).sum())


def _selected(visit: _Visit) -> int:
    """The number of selected pairs that the page shows; −1 if it shows none."""
    metric = visit.tab.locator('[data-testid="stMetric"]').filter(has_text=re.compile("^Pairs"))
    values = metric.locator('[data-testid="stMetricValue"]').all_inner_texts()
    return int(values[0].replace(",", "")) if values else -1
