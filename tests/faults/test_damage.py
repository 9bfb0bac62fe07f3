"""Files of ours that were damaged: every page and command says which one, and what to do."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.pair_table import open_columns
from core.errors import UserError
from core.intervention.training.tokens import LogProbCache
from core.report.findings import gather
from core.runs.execute import execute
from core.specs import project as projects
from core.specs.steps import SuggestSpec
from core.storage import tables
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import open_page, project, store  # noqa: F401

pytestmark = pytest.mark.slow

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
    "runs/rank-*/output/concentration.parquet": "rank",
    "runs/rank-*/spec.json": "rank",
    "runs/rank-*/log.txt": "rank",
    "runs/discover-*/output/pairs.parquet": "map",
    "runs/discover-*/output/clusters.parquet": "clusters",
    "runs/discover-*/output/prompts.parquet": "map",
    "runs/discover-*/output/matrix.npy": "map",
    "runs/discover-*/output/tree.parquet": "clusters",
    "runs/discover-*/output/contributions.parquet": "clusters",
    "runs/discover-*/output/changes.parquet": "overview",
    "runs/discover-*/output/summary.json": "clusters",
    "runs/edit-*/output/pairs.parquet": "results",
    "runs/edit-*/output/actions.parquet": "intervene",
    "runs/edit-*/output/summary.json": "results",
    "runs/train-*/output/log.jsonl": "results",
    "runs/train-*/output/summary.json": "results",
    "runs/evaluate-*/output/completions.parquet": "results",
    "cache/pairs-*.arrow": "data",
    "runs/evaluate-*/output/rates.parquet": "results",
}
PAGES = ("overview", "data", "behaviors", "rank", "map", "clusters", "intervene", "results")


@pytest.fixture
def damaged(store, project):  # noqa: F811
    """A finished investigation that was looked at, and a way to damage one kind of its files."""
    runs = workspaces.investigate(store, project, np.random.default_rng(0))
    workspaces.intervene(store, project, runs["rank compliance"], np.random.default_rng(1))
    Catalog(store.workspace).rename(runs["discover"], 1, "locks", who="ana")
    for run in store.finished("rank"):
        (store.folder(run) / "log.txt").write_text("it said\n")
    open_columns(Path(project.pairs), store.workspace / "cache")

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
    if LONG or (number + place) % 4 == 0
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


KINDS = {  # of file: how it is written, how it is read
    "t.parquet": (
        lambda path: pd.DataFrame({"n": range(50_000)}).to_parquet(path),
        lambda path: tables.table(path),
    ),
    "w.parquet": (
        lambda path: pd.DataFrame({"n": range(50_000)}).to_parquet(path),
        lambda path: tables.data_frame(path),
    ),
    "r.json": (
        lambda path: path.write_text('{"layer": 2, "k": 40}'),
        lambda path: tables.record(path),
    ),
    "m.npy": (lambda path: np.save(path, np.ones((40, 40))), lambda path: tables.array(path)),
    "v.npz": (lambda path: np.savez(path, a=np.ones(40)), lambda path: tables.arrays(path)),
}
EVERY_DAMAGE = DAMAGE | {
    "noise inside": lambda content: (
        content[: len(content) // 4] + b"\xff\x00{[" * (len(content) // 8) + content[-64:]
    ),
    "another kind": lambda content: b"[1, 2]",
}


@pytest.mark.parametrize("how", EVERY_DAMAGE)
@pytest.mark.parametrize("name", KINDS)
def test_no_damage_of_any_kind_of_file_is_a_traceback(tmp_path, name, how):
    write, read = KINDS[name]
    write(tmp_path / name)
    read(tmp_path / name)
    (tmp_path / name).write_bytes(EVERY_DAMAGE[how]((tmp_path / name).read_bytes()))
    with pytest.raises(UserError, match=rf"{re.escape(name)}.*run the step again"):
        read(tmp_path / name)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_run_with_a_damaged_input_fails_in_words(damaged, store, how):  # noqa: F811
    spec = SuggestSpec(discover=store.newest("discover"), llm="none")
    damaged("runs/discover-*/output/clusters.parquet", how)
    with pytest.raises(UserError, match=r"clusters\.parquet"):
        execute(spec, store)
    assert "clusters.parquet" in store.info(store.run_id(spec)).error


def test_a_damaged_line_of_a_training_log_is_told_and_one_that_grows_is_read(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"st')
    assert tables.lines(path)["step"].tolist() == [1]
    path.write_bytes(b'{"step": 1}\n\xff{[\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"log\.jsonl: not readable JSON lines"):
        tables.lines(path)


@pytest.mark.parametrize("how", EVERY_DAMAGE)
def test_a_damaged_cache_of_log_probs_is_told(tmp_path, how):
    cache = LogProbCache(tmp_path, model="0" * 16, arithmetic="float32")
    cache.add({f"{i:032}": -1.0 for i in range(1000)})
    cache.add({f"{i:032}": -2.0 for i in range(1000, 2000)})
    path = cache.files[0]
    path.write_bytes(EVERY_DAMAGE[how](path.read_bytes()))
    with pytest.raises(
        UserError, match=rf"(?s){re.escape(path.name)}: cannot be read .* Delete it"
    ):
        cache.read()
    path.unlink()
    assert set(cache.read().values()) == {-2.0}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_copy_of_the_pairs_is_made_again(damaged, store, project, how):  # noqa: F811
    damaged("cache/pairs-*.arrow", how)
    pairs = open_columns(Path(project.pairs), store.workspace / "cache")
    assert all(len(pairs[name]) == workspaces.N_PAIRS for name in pairs)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_record_of_a_run_is_told(damaged, store, how):  # noqa: F811
    run = store.newest("rank")
    damaged("runs/rank-*/spec.json", how)
    with pytest.raises(UserError, match=r"spec\.json"):
        store.spec(run)
