"""The edited pairs leave the browser whole."""

import numpy as np
import pandas as pd
import pytest

from tests.browser.conftest import settle
from tests.pages import workspaces

pytestmark = pytest.mark.browser
TRIES, SECONDS = 4, 20


def downloaded(tab, button: str):
    """The file behind a button, pressed again where a rerun of the page swallowed the click."""
    begun: list = []
    tab.on("download", lambda download: begun.append(download))
    for _ in range(TRIES):
        tab.get_by_role("button", name=button).click()
        for _ in range(10 * SECONDS):
            if begun:
                return begun[0].path()
            tab.wait_for_timeout(100)
    raise AssertionError(f"{button} was pressed {TRIES} times, and nothing came")


@pytest.mark.parametrize(
    ("button", "read"),
    [
        ("Pairs (Parquet)", pd.read_parquet),
        ("Pairs (JSON lines)", lambda path: pd.read_json(path, lines=True)),
    ],
)
def test_the_download_holds_the_edited_pairs(
    served, tab, store, project, investigated, button, read
):
    rng = np.random.default_rng(0)
    arms = workspaces.intervene(store, project, investigated["rank compliance"], rng, seeds=(0,))
    with served(store.workspace) as address:
        tab.goto(f"{address}/results?part=Report+and+export")
        settle(tab)
        found = read(downloaded(tab, button))
    edited = pd.read_parquet(store.output(store.run_id(arms[0].edit)) / "pairs.parquet")
    pd.testing.assert_frame_equal(found, edited, check_dtype=False)
