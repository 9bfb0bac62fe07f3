"""Performance: the shipped figures, with where they come from; without a project too."""

import json

from core.report import bench_results
from tests.pages.conftest import page_text


def test_shipped_figures_are_shown_with_their_machine(open_page, project):
    app = open_page("performance")
    known = bench_results.read_performance()
    assert known["machine"]["cpu"] in page_text(app)
    assert f"{known['results']['query']['pairs']:,} pairs" in page_text(app)


def test_it_needs_no_project(open_page):
    app = open_page("performance")
    assert not app.exception
    assert app.title[0].value == "How fast is it?"


def test_a_missing_file_is_told_with_the_command(open_page, monkeypatch, tmp_path, project):
    missing = tmp_path / "performance.json"
    monkeypatch.setattr(bench_results.read_performance, "__defaults__", (missing,))
    app = open_page("performance")
    assert "pairtrace bench all" in app.error[0].value


def test_a_damaged_file_is_told(open_page, monkeypatch, tmp_path, project):
    path = tmp_path / "performance.json"
    path.write_text(json.dumps(["no", "figures"]))
    monkeypatch.setattr(bench_results.read_performance, "__defaults__", (path,))
    assert "pairtrace bench all" in open_page("performance").error[0].value
