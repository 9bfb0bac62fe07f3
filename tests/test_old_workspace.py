"""A workspace made before the rooms of the code were rebuilt (commit 9106bd7) opens unchanged.

The archive holds tiny random models, pairs, prompts, and a finished run of every kind of step but
`suggest`; in the catalog a name, a mark, a note, a merge, a split, a cart and an undone change.
Its specs name their inputs relative to the workspace's folder.
"""

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from core.cli.main import cli
from core.runs.store import Store
from core.specs import project as projects
from core.workspace import label_files
from core.workspace.catalog import Catalog

ARCHIVE = Path(__file__).parent / "workspaces" / "0.1.0.tar.xz"
SHELL = Path(__file__).parents[1] / "pages" / "_shell.py"
PAGES = ("setup", "data", "behaviors", "rank", "map", "clusters", "intervene", "results", "tour")
SECONDS = 60


@pytest.fixture
def store(tmp_path, monkeypatch):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path / "workspace")
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(tmp_path / "workspace"))
    return Store(tmp_path / "workspace")


@pytest.fixture
def expected(store):
    """What that version said: run ids by step, and labels."""
    return json.loads((store.workspace / "expected.json").read_text())


def test_every_run_keeps_its_id(store, expected):
    runs = expected["runs"].values()
    assert {info.id: info.state for info in store.infos()} == dict.fromkeys(runs, "finished")
    assert [store.run_id(store.spec(run)) for run in runs] == list(runs)


def test_the_project_asks_for_the_same_runs(store, expected):
    project, runs = projects.load(store.workspace), expected["runs"]
    behavior = project.behaviors[0]
    specs = {
        "generate": project.generate(),
        "index": project.index(),
        "rank": project.rank(runs["generate"], runs["index"], behavior),
        "discover": project.discover(runs["generate"], runs["index"]),
        "train": project.train(runs["edit"], seed=0),
        "evaluate": project.evaluate(runs["train"]),
    }
    assert {name: store.run_id(spec) for name, spec in specs.items()} == {n: runs[n] for n in specs}


def test_every_file_of_every_run_is_verified(store, expected):
    done = CliRunner().invoke(cli, ["-w", str(store.workspace), "runs", "verify"])
    assert done.exit_code == 0, done.output
    assert all(run in done.output for run in expected["runs"].values())


def test_what_analysts_decided_is_read_as_it_was(store, expected):
    catalog = Catalog(store.workspace)
    assert json.loads(label_files.to_json(catalog.state())) == expected["labels"]
    (entry,) = catalog.state().cart
    assert (entry.edit.action, entry.edit.why) == ("flip", "top 24")


def test_every_page_shows_it(store, expected):
    app = AppTest.from_file(str(SHELL), default_timeout=SECONDS).run()
    assert not app.exception
    for page in PAGES:
        app.switch_page(f"{page}.py").run()
        assert not app.exception, page
        assert not app.error, (page, [error.value for error in app.error])
        if page == "clusters":
            assert any("begins with w1" in header.value for header in app.header), app.header
