"""Who may look, and who may change things."""

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import UserError
from core.runs import jobs
from core.runs.store import Store
from core.specs import project as projects
from core.workspace.catalog import Catalog
from tests.pages.conftest import SECONDS, SHELL, page_text

AUTH = {
    "redirect_uri": "http://localhost:8501/oauth2callback",
    "cookie_secret": "not a secret in a test",
    "client_id": "x",
    "client_secret": "y",
    "server_metadata_url": "http://localhost/none",
}


def test_with_login_configured_nothing_is_shown_before_it(store, project):
    app = AppTest.from_file(str(SHELL), default_timeout=SECONDS)
    app.secrets["auth"] = AUTH
    app.run()
    assert not app.exception
    assert "Log in to see this investigation" in page_text(app)
    assert [button.label for button in app.button] == ["Log in"]
    assert project.name not in page_text(app)


def test_somebody_who_looks_on_changes_nothing(store, project):
    viewer = Store(store.workspace, writable=False)
    with pytest.raises(UserError, match="read-only"):
        jobs.start(viewer, project.generate())
    with pytest.raises(UserError, match="read-only"):
        jobs.cancel(viewer, "generate-0123456789abcdef")
    with pytest.raises(UserError, match="read-only"):
        Catalog(store.workspace, writable=False).forget("mine", who="eve")
    assert not list(store.workspace.glob("runs/*"))


def test_each_sees_where_the_others_are_in_this_project_only(
    store, project, open_page, tmp_path, monkeypatch
):
    here = open_page("data")
    here.text_input("who").set_value("Ann <b>").run()
    other = page_text(open_page("rank"))
    assert "Also here: Ann &lt;b> (Data)" in other
    assert "Also here: analyst (Rank)" in page_text(here.run())
    again = page_text(open_page("map"))  # a reloaded window, of the same name
    assert "Also here: analyst" not in again
    here.text_input("who").set_value("Eva").run()
    assert "Ann" not in page_text(open_page("data"))  # she is Eva now
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(tmp_path / "another"))
    projects.save(project, tmp_path / "another")
    assert "Also here" not in page_text(open_page("data"))
