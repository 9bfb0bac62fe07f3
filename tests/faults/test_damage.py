"""Files of ours that were damaged: every page and command says which one, and what to do."""

import os

import numpy as np
import pytest

from core.errors import UserError
from core.report.gather import gather
from core.runs import project as projects
from core.runs.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import open_page, project, store  # noqa: F401

LONG = os.environ.get("PAIRTRACE_LONG") == "1"
DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "noise": lambda content: b"\xff\x00{[" * 8,
}
FILES = {  # where, and a page that reads it
    "project.toml": "overview",
    "catalog.sqlite": "overview",
    "runs/generate-*/output/rates.parquet": "overview",
    "runs/generate-*/output/completions.parquet": "behaviors",
    "runs/generate-*/progress.jsonl": "overview",
    "runs/generate-*/spec.json": "behaviors",
    "runs/rank-*/output/ranking.parquet": "rank",
    "runs/rank-*/output/summary.json": "rank",
    "runs/rank-*/output/layers.parquet": "behaviors",
    "runs/rank-*/spec.json": "rank",
    "runs/discover-*/output/pairs.parquet": "map",
    "runs/discover-*/output/clusters.parquet": "clusters",
    "runs/evaluate-*/output/rates.parquet": "results",
}
PAGES = ("overview", "behaviors", "rank", "map", "clusters", "intervene", "results")


@pytest.fixture
def damaged(store, project):  # noqa: F811
    """A finished investigation, and a way to damage one kind of its files."""
    runs = workspaces.investigate(store, project, np.random.default_rng(0))
    workspaces.intervene(store, project, runs["rank compliance"], np.random.default_rng(1))
    Catalog(store.workspace).rename(runs["discover"], 1, "locks", who="ana")

    def damage(pattern: str, how: str) -> None:
        paths = list(store.workspace.glob(pattern))
        assert paths, pattern
        for path in paths:
            path.write_bytes(DAMAGE[how](path.read_bytes()))

    return damage


CASES = [
    (pattern, how, page)
    for number, (pattern, own) in enumerate(FILES.items())
    for place, how in enumerate(DAMAGE)
    for page in (PAGES if LONG else [own])
    if LONG or (number + place) % 3 == 0
]


@pytest.mark.parametrize(("pattern", "how", "page"), CASES)
def test_a_page_says_which_file_is_damaged(damaged, open_page, pattern, how, page):  # noqa: F811
    damaged(pattern, how)
    app = open_page(page)
    assert not app.exception, [one.value for one in app.exception]


@pytest.mark.parametrize("how", DAMAGE)
def test_the_report_and_the_project_say_so_too(damaged, store, how):  # noqa: F811
    damaged("runs/generate-*/output/rates.parquet", how)
    with pytest.raises(UserError, match=r"rates\.parquet"):
        gather(store)
    damaged("project.toml", how)
    with pytest.raises(UserError, match=r"project\.toml"):
        projects.load(store.workspace)
