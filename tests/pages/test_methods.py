"""Methods: the tables of the ways of ranking."""

from tests.pages.conftest import page_text


def test_the_papers_table_is_marked_as_theirs_and_needs_no_project(open_page):
    app = open_page("methods")
    assert not app.exception
    assert "Theirs, not measured by us" not in page_text(app)
    app.session_state["scoreboard-part"] = "The paper's own table"
    assert "Theirs, not measured by us" in page_text(app.run())
