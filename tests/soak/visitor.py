"""Somebody who clicks at random: switches pages, works every kind of widget, draws, searches.

Every choice comes from the visitor's seed, so that the same visits are tried again; what the page
shows by then depends on the other visitors too. A rerun is timed in the page: from the moment
Streamlit's script state leaves `notRunning` until it is back. Knows nothing of what a page means.
"""

import asyncio
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

from core.intervention.edits.apply import TOUCHES_NONE

SLOWEST = 60_000  # milliseconds until a page that does not come to rest counts as hung
PATIENCE = 3_000  # milliseconds until a widget that a rerun took away is given up
WORDS = ("sure", "explain", "three items", "no such phrase", "<b>&amp;", "*", "ünïcode \u202e", "")
COSTLY = re.compile(r"^(Start|Rank the|Draw the|Measure|Check the|Let both|Try again)")
PAGES = ("Overview", "Data", "Behaviors", "Rank", "Map", "Clusters", "Intervene", "Results")
RIGHTFUL = (
    re.escape(TOUCHES_NONE),
    r"Search for 1 to \d+ words; “.*” has 0\.",
    r"/.*/ is not a regular expression \(.*\)\..* search for a phrase\.",
)
GONE = "not attached"  # what Playwright says of a widget that was there
PROBE = re.compile(
    "/_stcore/(host-config|health)$"
)  # Streamlit looks for itself beside a page first
MAIN = '[data-testid="stMain"] '
RESTS = '[data-testid="stApp"][data-test-script-state="notRunning"]'
WATCH = """() => {
  window.reruns = [];
  let began = null;
  const look = () => {
    const app = document.querySelector('[data-testid="stApp"]');
    if (!app) return;
    const rests = app.dataset.testScriptState === 'notRunning';
    if (!rests && began === null) began = performance.now();
    if (rests && began !== null) { window.reruns.push(performance.now() - began); began = null; }
  };
  new MutationObserver(look).observe(document, {
    subtree: true, childList: true, attributes: true, attributeFilter: ['data-test-script-state'],
  });
}"""


@dataclass
class Seen:
    """What all visitors met."""

    reruns: list[tuple[float, str, str]] = field(default_factory=list)  # seconds, page, action
    visits: list[tuple[float, str, str]] = field(default_factory=list)  # the same, app and all
    actions: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def rightful(shown: str) -> bool:
    """Whether the app does well to show this in red: random clicks compose and search nonsense."""
    return any(re.fullmatch(known, shown.strip()) for known in RIGHTFUL)


class Visitor:
    """One browser session on one address, until a deadline."""

    def __init__(
        self, number: int, tab: Any, address: str, seen: Seen, think: tuple[float, float]
    ) -> None:
        """`think`: seconds of looking between two actions, at least and at most."""
        self.chance, self.think = random.Random(number), think
        self.tab, self.address, self.seen = tab, address, seen
        self.starts_jobs = number == 0  # one does, so that the machine is left to the others too
        self.last = "opening"
        tab.set_default_timeout(PATIENCE)
        tab.on("console", self._listen)
        tab.on("pageerror", lambda error: self._complain(f"{error}"))

    async def visit(self, deadline: float) -> None:
        """Act, look, act again."""
        await self.tab.add_init_script(f"({WATCH})()")
        await self.tab.goto(f"{self.address}/overview", timeout=SLOWEST)
        await self._rest()
        while time.monotonic() < deadline:
            await asyncio.sleep(self.chance.uniform(*self.think))
            await self._act()

    async def _act(self) -> None:
        from playwright.async_api import Error

        ways = {self._switch: 3, self._press: 3, self._pick: 3, self._toggle: 3, self._type: 2}
        ways |= {self._slide: 2, self._row: 2, self._lasso: 2, self._reload: 0.3}
        way = self.chance.choices(list(ways), list(ways.values()))[0]
        name = way.__name__.strip("_")
        self.last = name
        try:
            await way()
        except Error as error:  # a rerun took the widget away under the mouse: people miss too
            if "Timeout" not in str(error) and GONE not in str(error):
                raise
            name += ", missed"
            await self.tab.keyboard.press("Escape")
        self.seen.actions[name] = self.seen.actions.get(name, 0) + 1
        await self._rest()

    async def _rest(self) -> None:
        """Wait for the page to come to rest, then take down its times and its errors."""
        try:
            await self.tab.wait_for_selector(RESTS, timeout=SLOWEST)
        except Exception as error:
            raise TimeoutError(f"after {self.last} the page did not come to rest") from error
        took = await self.tab.evaluate("window.reruns.splice(0)")
        page = self.tab.url.partition(self.address)[2].partition("?")[0]
        kept = self.seen.visits if self.last in ("opening", "reload") else self.seen.reruns
        kept += [(one / 1000, page, self.last) for one in took]
        for kind in ("stException", "stAlertContentError"):
            for text in await self.tab.locator(f'[data-testid="{kind}"]').all_inner_texts():
                if not rightful(text):
                    self._complain(f"shown: {text[:300]}")

    def _listen(self, said: Any) -> None:
        place = said.location.get("url", "")
        if said.type == "error" and not PROBE.search(place):
            self._complain(f"{said.text} {place}")

    def _complain(self, text: str) -> None:
        self.seen.problems.append(f"{self.tab.url.rpartition('/')[2][:60]}, {self.last}: {text}")

    async def _one(self, selector: str) -> Any | None:
        """One of the widgets of a kind that are there."""
        found = await self.tab.locator(selector).all()
        there = [one for one in found if await one.is_visible()]
        return self.chance.choice(there) if there else None

    async def _place(self, widget: Any) -> dict[str, float]:
        """Where a widget is, unless a rerun took it away meanwhile."""
        from playwright.async_api import Error

        box = await widget.bounding_box()
        if box is None:
            raise Error(GONE)
        return dict(box)

    async def _switch(self) -> None:
        page = self.chance.choice(PAGES)
        link = self.tab.locator('[data-testid="stSidebarNavLink"]').get_by_text(page, exact=True)
        await link.click()

    async def _press(self) -> None:
        button = await self._one('[data-testid="stButton"] button:enabled')
        if button is None:
            return
        costly = COSTLY.match(await button.inner_text())
        if not costly:
            await button.click()
        elif self.starts_jobs and self.last != "job":
            self.last = "job"
            await button.click()
            await asyncio.sleep(self.chance.uniform(2, 5))
            await self._cancel()

    async def _cancel(self) -> None:
        for _ in range(20):
            stop = self.tab.get_by_role("button", name=re.compile("^Cancel"))
            if not await stop.count():
                return
            await stop.first.click(timeout=SLOWEST)
            await self.tab.wait_for_selector(RESTS, timeout=SLOWEST)

    async def _pick(self) -> None:
        kinds = ('[data-testid="stSelectbox"] input', '[data-testid="stMultiSelect"] input')
        box = await self._one(", ".join(MAIN + kind for kind in kinds))
        if box is None:
            return
        await box.click()
        option = await self._one('[role="option"]')
        if option is not None:
            await option.click()
        await self.tab.keyboard.press("Escape")

    async def _toggle(self) -> None:
        kinds = ("stCheckbox", "label"), ("stButtonGroup", "button"), ("stExpander", "summary")
        selectors = [f'{MAIN}[data-testid="{kind}"] {part}' for kind, part in kinds]
        widget = await self._one(", ".join([*selectors, MAIN + '[role="tab"]']))
        if widget is not None:
            await widget.click()

    async def _type(self) -> None:
        kinds = ('[data-testid="stTextInput"] input', '[data-testid="stTextArea"] textarea')
        box = await self._one(", ".join(MAIN + kind for kind in kinds))
        if box is not None:
            await box.fill(self.chance.choice(WORDS))
            await box.press("Enter")

    async def _slide(self) -> None:
        kinds = ('[role="slider"]', '[data-testid="stNumberInput"] input')
        handle = await self._one(", ".join(MAIN + kind for kind in kinds))
        if handle is not None:
            await handle.focus()
            await handle.press(self.chance.choice(("ArrowUp", "ArrowDown", "ArrowRight", "Home")))
            await handle.press("Enter")

    async def _row(self) -> None:
        table = await self._one(MAIN + '[data-testid="stDataFrame"]')
        if table is not None:
            await table.scroll_into_view_if_needed()
            box = await self._place(table)
            y = self.chance.uniform(10, max(11, box["height"] - 5))
            await table.click(position={"x": self.chance.choice((15, 120)), "y": y})

    async def _lasso(self) -> None:
        chart = await self._one(MAIN + '[data-testid="stPlotlyChart"]')
        if chart is None:
            return
        await chart.scroll_into_view_if_needed()
        box = await self._place(chart)
        corners = [
            (box["x"] + x * box["width"], box["y"] + y * box["height"])
            for x, y in ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7), (0.3, 0.32))
        ]
        await self.tab.mouse.move(*corners[0])
        await self.tab.mouse.down()
        for corner in corners[1:]:
            await self.tab.mouse.move(*corner, steps=4)
        await self.tab.mouse.up()

    async def _reload(self) -> None:
        await self.tab.reload(timeout=SLOWEST)
