"""The pairs themselves: their health, and any of them to read."""

import pandas as pd

from core.specs import project as projects
from core.specs.steps import CheckSpec
from core.steps import check
from core.storage import tables
from tests.pages import workspaces
from tests.pages.conftest import page_text


def rows(app) -> pd.DataFrame:
    return app.dataframe[-1].value


def test_pairs_are_sorted_filtered_and_paged(open_page, project):
    app = open_page("data")
    assert not app.exception
    assert "400 pairs" in page_text(app)
    assert len(rows(app)) == 100
    app.selectbox("source").set_value("instructions").run()
    assert set(rows(app)["source"]) == {"instructions"}
    app.selectbox("sort").set_value("uid").run()
    app.toggle("descending").set_value(True).run()
    assert rows(app)["uid"].is_monotonic_decreasing
    app.text_input("phrase").set_value("PLANT 7.").run()
    assert rows(app)["uid"].tolist() == ["pair-007"]
    assert not app.exception


def test_the_health_of_the_pairs_is_shown_once_checked(open_page, project, store):
    spec = CheckSpec(pairs=project.pairs, model=project.reference)
    assert "Report invalid and unusual pairs" in page_text(open_page("data"))
    folder = store.part("check-0123456789abcdef", keep=False)
    check.run(spec.model_copy(update={"model": None}), store=store, output=folder, progress=quiet)
    found = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("rows", "sources")}
    workspaces.finish(store, spec, **found, summary=tables.record(folder / "summary.json"))
    app = open_page("data")
    assert not app.exception
    assert {metric.label: metric.value for metric in app.metric}["usable pairs"] == "400"


def test_of_a_large_set_what_was_found_is_shown_in_part_and_kept_whole(
    open_page, project, store, tmp_path
):
    n = 1_200
    pairs = workspaces.make_pairs().sample(n, replace=True, random_state=0, ignore_index=True)
    pairs = pairs.assign(uid=[f"pair-{i}" for i in range(n)], source=[f"s{i}" for i in range(n)])
    path = tmp_path / "odd.parquet"
    pairs.to_parquet(path)
    project = project.model_copy(update={"pairs": str(path)})
    projects.save(project, store.workspace)
    spec = CheckSpec(pairs=str(path), model=project.reference)
    folder = store.part("check-0123456789abcdef", keep=False)
    check.run(spec.model_copy(update={"model": None}), store=store, output=folder, progress=quiet)
    found = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("rows", "sources")}
    workspaces.finish(store, spec, **found, summary=tables.record(folder / "summary.json"))
    app = open_page("data")
    assert [len(table.value) for table in app.dataframe] == [100]  # closed expanders hold nothing
    assert len(app.selectbox("source").options) == 1 + 1_000
    app.session_state["sources"] = True
    app.run()
    assert not app.exception
    assert any("1,200 sources among 1,200 pairs" in one.value for one in app.warning)
    assert "The first 1,000 of 1,200 sources" in page_text(app)
    assert len(app.dataframe[0].value) == 1_000


def test_pairs_of_any_format_are_read_row_by_row(open_page, project, store, tmp_path):
    path = tmp_path / "pairs.jsonl"
    workspaces.make_pairs().to_json(path, orient="records", lines=True)
    projects.save(project.model_copy(update={"pairs": str(path)}), store.workspace)
    app = open_page("data", sort="uid", descending="true")
    assert not app.exception
    assert rows(app)["uid"].iloc[0] == "pair-399"


def quiet(*_progress) -> None:
    pass
