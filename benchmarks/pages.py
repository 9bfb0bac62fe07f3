"""Speed and memory of every page over 378k pairs of realistic length, in a headless Chromium.

The workspace of random blobs (`_large_workspace`) is written once into a folder and kept there. A
first server shows the map without the Arrow copy of the pairs, and makes it (`copied`). A second
one shows every page by its address, for the first time (`first`; reads what no earlier page needed)
and again (`again`; both load the complete app), then by its link in the sidebar (`link`), and then
under its main gestures.

A step is timed from the user's event (the address, the click, Enter) to the settled page: the
script runs of the event have ended, by the tab's socket, nothing is loading, and the browser has
painted. `cpu` is the server's CPU-seconds, which hardly depend on other load. `gb` is the server's
memory after the step, `mapped` the part of it that is mapped files (reclaimable), `peak` its
maximum so far. A gesture that fails has no seconds and is listed in `problems`, as is every error
that a page showed.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from benchmarks import _browser, _large_workspace
from benchmarks._browser import Missed
from core.errors import UserError
from core.runs.store import Store

PAGES = (
    "overview", "setup", "data", "behaviors", "rank", "map", "clusters", "intervene", "results",
    "tour",
)  # fmt: skip
UNLINKED = ("setup",)  # once there is a project
SORTED = ("uid", "prompt", "chosen", "rejected", "source", "chosen_model")
WANTED_SECONDS, WANTED_GB = 2.0, 3.0

Act = Callable[[], Any]  # the user's event
Gesture = Callable[[Any], Act]  # prepares the tab for it


def run(folder: str) -> dict[str, Any]:
    """Measure in `folder`, which keeps the workspace for the next time."""
    with _browser.chromium() as browser:  # before minutes of writing, if there is none
        store = workspace(Path(folder))
        load = os.getloadavg()[0]
        with _browser.serving(store.workspace) as (address, pid):
            copying = Visit(browser, address, pid)
            copying.open("map", "copied")
        with _browser.serving(store.workspace) as (address, pid):
            visit = Visit(browser, address, pid)
            for page in PAGES:
                visit.open(page, "first")
                visit.open(page, "again")
                if page not in UNLINKED:
                    visit.step("link", _link(page))
                for name, gesture in GESTURES.get(page, {}).items():
                    visit.step(name, gesture)
            peak = _browser.peak_gb(pid)
    steps = copying.steps + visit.steps
    timed = [step for step in visit.steps if step["seconds"] != "missed"]
    slow = [step for step in timed if step["seconds"] > WANTED_SECONDS]
    return {
        "pairs": pq.read_metadata(Path(folder) / "inputs" / "pairs.parquet").num_rows,
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "peak_gb": peak,
        "peak_gb_copying": copying.steps[0]["peak"],
        "peak_gb_wanted": WANTED_GB,
        "slow": [f"{step['page']}, {step['step']}: {step['seconds']} s" for step in slow],
        "problems": copying.problems + visit.problems,
        "steps": steps,
    }


def workspace(folder: Path) -> Store:
    """The workspace in a folder, written if it is not complete there.

    The copy of the pairs and the edit cart of an earlier measurement are deleted.
    """
    done = folder / "whole"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(
                f"{folder} is not empty and has no complete workspace: name an empty one."
            )
        _large_workspace.write(folder, lengths=_large_workspace.REAL)
        done.touch()
    store = Store(folder / "workspace")
    for path in (*store.workspace.glob("cache/*.arrow"), *store.workspace.glob("catalog.sqlite*")):
        path.unlink()
    return store


class Visit:
    """One tab of one server; `steps` has the figures of each step."""

    def __init__(self, browser: Any, address: str, pid: int) -> None:
        self.address, self.server = address, psutil.Process(pid)
        self.page = ""
        self.steps: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.tab = _browser.Tab(browser)

    def open(self, page: str, name: str) -> None:
        """Go to a page by its address."""
        self.page = page
        self.step(name, lambda tab: lambda: tab.goto(f"{self.address}/{page}"))

    def step(self, name: str, gesture: Gesture) -> None:
        """Make a gesture, wait until the page is at rest, and record the cost."""
        before = sum(self.server.cpu_times()[:2])
        try:
            seconds: float | str = round(self.tab.timed(gesture), 2)
        except Missed as missed:
            seconds = "missed"
            self.problems.append(f"{self.page}, {name}: {missed}")
        memory = self.server.memory_info()
        self.steps.append(
            {
                "page": self.page,
                "step": name,
                "seconds": seconds,
                "cpu": round(sum(self.server.cpu_times()[:2]) - before, 2),
                "gb": round(memory.rss / 1e9, 2),
                "mapped": round(memory.shared / 1e9, 2),
                "peak": _browser.peak_gb(self.server.pid),
            }
        )
        self.problems += [f"{self.page}, {name}: {text}" for text in self.tab.errors()]


def _link(page: str) -> Gesture:
    """Go to a page by its link in the sidebar."""
    links = '[data-testid="stSidebarNavLink"]'
    return lambda tab: lambda: tab.locator(f'{links}[href$="/{page}"]').click()


def _choose(label: str, option: str) -> Gesture:
    """Pick an option of the select box with this label."""
    boxes = '[data-testid="stSelectbox"], [data-testid="stMultiSelect"]'

    def prepare(tab: Any) -> Act:
        tab.keyboard.press("Escape")  # a list that the last gesture left open
        box = tab.locator(boxes).filter(has=tab.get_by_text(label, exact=True)).first
        field = box.locator("input").first
        field.click()
        field.fill(option)  # of a long list, only what is near is drawn
        match = tab.get_by_role("option", name=option, exact=True)
        match.wait_for()
        return lambda: match.click()

    return prepare


def _write(label: str, text: str) -> Gesture:
    """Fill the field with this label, then press Enter."""
    fields = '[data-testid="stTextInput"], [data-testid="stNumberInput"]'

    def prepare(tab: Any) -> Act:
        field = tab.locator(fields).filter(has_text=label).locator("input").first
        field.fill(text)
        return lambda: field.press("Enter")

    return prepare


def _press(name: str) -> Gesture:
    """Press the first enabled button of the page whose text begins so."""

    def prepare(tab: Any) -> Act:
        button = tab.locator(f'[data-testid="stMain"] button:enabled:has-text("{name}")').first
        button.wait_for()
        return lambda: button.click()

    return prepare


GESTURES: dict[str, dict[str, Gesture]] = {
    "data": {
        "page 2": _write("Page of", "2"),
        "page 3000": _write("Page of", "3000"),
        "page 1": _write("Page of", "1"),
        **{f"sort by {column}": _choose("Sort by", column) for column in SORTED},
        "file order": _choose("Sort by", "file order"),
        "one source": _choose("Source", "math"),
        "a phrase": _write("Containing", "blob3"),
        "a phrase in chosen": _choose("in", "chosen"),
        "the same, sorted by prompt": _choose("Sort by", "prompt"),
    },
    "behaviors": {"another prompt": _choose("Prompt", "prompts: request 7 of the harmful ones")},
    "rank": {
        "next page": _write("Page of", "2"),
        "a phrase": _write("Containing", "blob3"),
        "no phrase": _write("Containing", ""),
        "one source": _choose("Source", "math"),
        "another score": _press("similarity"),
        "into the cart": _press("Add "),
    },
    "map": {
        "color by source": _choose("Color by", "source"),
        "color by similarity": _choose("Color by", "similarity to prompts"),
        "one source": _press("math"),
        "a phrase": _write("Search", "blob3"),
        "heatmap": _press("heatmap"),
    },
    "clusters": {"another cluster": _choose("Cluster", "5 · (blob5)")},
    "intervene": {
        "another size": _write("Pairs of entry 1", "5000"),
        "remove instead": _choose("Action of entry 1", "remove"),
    },
}
