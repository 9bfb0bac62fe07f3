"""The spot-check: blinded, logged with who, taken back, compared with the judge."""

import pytest

from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import page_text


@pytest.fixture
def app(open_page, store, project, investigated, rng):
    workspaces.intervene(store, project, investigated["rank compliance"], rng, seeds=(0,))
    return open_page("results", part="Spot-check")


def verdicts(store) -> list[tuple[str, bool | None]]:
    return [(who, one.shown) for (_, who), one in Catalog(store.workspace).state().verdicts.items()]


def test_an_answer_is_logged_and_the_next_completion_comes(app, store):
    assert "Does this completion show “complied”" in page_text(app)
    app.button("spot-Y").click().run()
    app.button("spot-U").click().run()
    assert verdicts(store) == [("analyst", True), ("analyst", None)]


def test_an_answer_can_be_taken_back(app, store):
    app.button("spot-N").click().run()
    app.button("spot-back").click().run()
    assert verdicts(store) == []


def test_agreement_with_the_judge_has_an_interval_per_person(app, store):
    app.number_input("spot-check-n").set_value(10).run()
    for _ in range(10):
        app.button("spot-Y").click().run()
    table = next(f.value for f in app.dataframe if "kappa" in f.value)
    assert list(table["who"]) == ["analyst"]
    assert table["only the person says yes"].iloc[0] > 0
    assert table["kappa"].iloc[0].startswith("0.00 [")
    assert "All of them are read" in app.success[0].value
