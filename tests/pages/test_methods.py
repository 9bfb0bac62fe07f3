"""Methods: the tables of the ways of ranking, and the measured speed; without a project too."""

import pytest

from core.report import bench_results
from tests.pages.conftest import page_text


def test_the_papers_table_is_marked_as_theirs_and_needs_no_project(open_page):
    app = open_page("methods")
    assert not app.exception
    assert "Theirs, not measured by us" not in page_text(app)
    app.session_state["scoreboard-part"] = "The paper's own table"
    assert "Theirs, not measured by us" in page_text(app.run())


def speed(open_page):
    app = open_page("methods")
    app.session_state["scoreboard-part"] = "Speed"
    return app.run()


def test_shipped_figures_are_shown_with_their_machine_and_need_no_project(open_page):
    app = speed(open_page)
    assert not app.exception
    shipped = bench_results.read_performance()
    assert shipped["machine"]["cpu"] in page_text(app)
    assert f"{shipped['results']['query']['pairs']:,} pairs" in page_text(app)


@pytest.mark.parametrize("content", [None, '["no", "figures"]'], ids=["missing", "damaged"])
def test_figures_that_cannot_be_read_are_reported_with_the_command(
    open_page, monkeypatch, tmp_path, content
):
    path = tmp_path / "performance.json"
    if content:
        path.write_text(content)
    monkeypatch.setattr(bench_results.read_performance, "__defaults__", (path,))
    assert "pairtrace bench all" in speed(open_page).error[0].value


def test_repairs_are_shown_with_their_controls_and_what_they_make_worse(open_page):
    app = open_page("methods")
    app.session_state["scoreboard-part"] = "Repairs compared"
    app.run()
    assert not app.exception
    (table,) = [one.value for one in app.dataframe if "repair" in one.value]
    assert list(table["repair"])[:4] == ["remove", "flip", "weight", "relabel"]
    assert table["by its control"].str.contains("%").all()
    assert "less made worse than by flipping: remove" in page_text(app)
