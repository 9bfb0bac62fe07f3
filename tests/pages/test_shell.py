"""The shell surrounds every page, whatever the workspace holds."""

import pytest

from tests.pages import workspaces
from tests.pages.conftest import said

NAMES = ("overview", "data", "behaviors", "rank", "map", "clusters", "intervene", "results")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_without_a_project_says_how_to_make_one(open_page, name):
    app = open_page(name)
    assert not app.exception
    assert "Set up an investigation" in said(app) + str([one.label for one in app.get("page_link")])


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
        assert "Edit cart (0)" in said(open_page(name))


def test_a_project_file_that_is_broken_is_named(open_page, project, store):
    (store.workspace / "project.toml").write_text("name = [")
    assert "project.toml" in open_page("overview").error[0].value


def test_what_runs_is_shown_on_every_page(open_page, investigated, project, store):
    workspaces.begin(store, project.train(project.pairs, seed=0), "running")
    app = open_page("rank")
    assert "1 running, 0 waiting" in said(app)
