"""The report as slides, and its map under the mouse."""

import numpy as np
import pytest

from core.report.findings import gather
from core.report.html import to_html
from tests.pages import workspaces

pytestmark = pytest.mark.browser


def test_arrows_turn_slides_and_a_point_of_the_map_shows_its_text_as_text(
    tab, store, project, investigated
):
    rng = np.random.default_rng(0)
    workspaces.intervene(store, project, investigated["rank compliance"], rng, seeds=(0,))
    alerts: list[str] = []
    tab.on("dialog", lambda dialog: alerts.append(dialog.message))
    tab.set_content(to_html(gather(store)))
    tab.keyboard.press("s")
    for place in ("1 of 5", "2 of 5", "3 of 5"):
        assert tab.locator("#place").inner_text() == place
        assert tab.locator(".card:visible").count() == 1
        tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowLeft")
    box = tab.locator("#map").bounding_box()
    for place in range(5, int(box["width"]), 5):
        tab.mouse.move(box["x"] + place, box["y"] + box["height"] - 10 - place % 30)
        if tab.locator("#tip").is_visible():
            break
    assert "chosen: " in tab.locator("#tip").inner_text()
    tab.keyboard.press("s")
    assert tab.locator(".card:visible").count() == 5
    assert not alerts
