"""The shell surrounds every page, whatever the workspace holds."""

import os
from pathlib import Path

import pandas as pd
import pytest

from core import environment
from core.specs import project as projects
from core.specs.recipes import Edit, TopK
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import page_text

NAMES = (
    "overview", "data", "behaviors", "rank", "map", "clusters", "intervene", "results",
    "tour",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_page_without_a_project_says_how_to_make_one(open_page, name):
    app = open_page(name)
    assert not app.exception
    links = [link.label for link in app.get("page_link")]
    assert "Set up an investigation" in "\n".join([page_text(app), *links])


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_a_new_project_offers_a_first_step(open_page, project, name):
    app = open_page(name)
    assert not app.exception
    assert not app.error
    assert len(app.title) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_a_finished_investigation_is_drawn(open_page, investigated, name):
    app = open_page(name)
    assert not app.exception
    assert not app.error


def test_the_cart_is_on_every_page(open_page, investigated):
    for name in NAMES:
        assert "Edit cart (0)" in page_text(open_page(name))


def test_a_project_file_that_is_broken_is_named(open_page, project, store):
    (store.workspace / "project.toml").write_text("name = [")
    assert "project.toml" in page_text(open_page("overview"))


def test_a_url_names_one_of_the_projects_that_are_served(
    open_page, project, store, tmp_path, monkeypatch
):
    second = tmp_path / "second"
    projects.save(project.model_copy(update={"name": "the other one"}), second)
    served = os.pathsep.join(map(str, (store.workspace, second)))
    monkeypatch.setenv("PAIRTRACE_WORKSPACES", served)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # no projects that others opened before
    first = open_page("overview")
    assert project.name in page_text(first)
    links = [link.proto.url for link in first.get("link_button")]
    assert [url for url in links if url.startswith("?project=")] == ["?project=second"]
    app = open_page("overview", project="second")
    assert "the other one" in page_text(app)
    app.switch_page("methods.py").run()
    assert "the other one" in page_text(app)
    assert app.query_params["project"] == "second"
    refused = open_page("overview", project=str(tmp_path / "third"))
    assert "is served here. There are: workspace, second" in page_text(refused)
    assert project.name not in page_text(refused)


def test_what_runs_is_shown_on_every_page(open_page, investigated, project, store):
    workspaces.begin(store, project.train(project.pairs, seed=0), "running")
    app = open_page("rank")
    assert "1 running, 0 waiting" in str(app.get("progress")[0].proto)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_whose_pairs_were_taken_away_says_so(open_page, investigated, project, name):
    Path(project.pairs).unlink()
    app = open_page(name)
    assert not app.exception


@pytest.mark.parametrize("name", NAMES)
def test_hostile_and_endless_text_is_only_text(open_page, store, project, rng, name):
    """Texts of 100,000 characters without a space, full of markup, wherever a user may put them."""
    nasty = workspaces.HOSTILE + "W" * 100_000
    pairs = pd.read_parquet(project.pairs).assign(prompt=nasty, source=nasty[:300])
    pairs["chosen"] = nasty
    pairs.to_parquet(project.pairs)
    runs = workspaces.investigate(store, project, rng)
    workspaces.intervene(store, project, runs["rank compliance"], rng, why=workspaces.HOSTILE)
    catalog = Catalog(store.workspace)
    catalog.rename(runs["discover"], 1, workspaces.HOSTILE[:80], who=workspaces.HOSTILE[:40])
    edit = Edit(action="flip", recipe=TopK(rank=runs["rank compliance"], k=5))
    catalog.add(edit, who=workspaces.HOSTILE[:40])
    app = open_page(name)
    assert not app.exception
    assert "![x](http" not in "".join(str(one.value) for one in app.markdown if not one.allow_html)
    assert "<script" not in "".join(str(one.value) for one in app.markdown)


def test_the_app_runs_nobodys_code_however_it_was_started(open_page, project, monkeypatch):
    for name in (environment.TRUST_CODE, environment.TRUST_JUDGE):
        monkeypatch.setenv(name, "1")
    open_page("overview")
    assert not environment.trusts_code()
    assert not environment.trusts_judge_code()
