"""The guided tour: what is done in this workspace, what comes next, and the way there."""

import pytest

from core.specs.recipes import Edit, TopK
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import page_text


def test_without_anything_computed_the_first_step_is_next(open_page, project):
    app = open_page("tour")
    assert "→ 1 · Let it compute" in page_text(app)
    assert "0 of 8 steps done" in str(app.get("progress")[0].proto)


def test_what_is_computed_is_ticked_and_reading_is_next(open_page, investigated):
    text = page_text(open_page("tour"))
    assert "✓ 1 · Let it compute" in text
    assert "→ 2 · What did training change?" in text
    assert "The edit cart is empty." in text


def test_a_step_opens_its_page_with_the_behavior_that_rose(open_page, investigated):
    app = open_page("tour")
    app.button("tour-4").click().run()
    assert app.title[0].value == "Which pairs taught it?"
    assert app.selectbox("behavior").value == "compliance"


def test_the_bar_walks_along_and_progress_is_kept(open_page, investigated):
    app = open_page("tour")
    app.button("tour-2").click().run()
    assert "Step 2 of 8 · What did training change?" in page_text(app)
    app.button("tour-next").click().run()
    assert app.title[0].value == "What do the two models say?"
    assert "Step 3 of 8 · Read what it says now" in page_text(app)
    app.button("tour-next").click().run()
    assert app.title[0].value == "Which pairs taught it?"
    app.button("tour-back").click().run()
    again = open_page("tour")  # another visit
    assert "Step 3 of 8" in page_text(again)
    assert "✓ 2 · What did training change?" in page_text(again)
    again.button("tour-out").click().run()
    assert "Step 3 of 8" not in page_text(open_page("tour"))


def test_a_cart_that_holds_pairs_is_a_step_done(open_page, investigated, store):
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=5))
    Catalog(store.workspace).add(edit, who="ana")
    assert "✓ 6 · Put the suspects into the cart" in page_text(open_page("tour"))


def test_a_measured_edit_is_answered(open_page, investigated, project, store, rng):
    workspaces.intervene(store, project, investigated["rank compliance"], rng)
    app = open_page("tour")
    assert "✓ 7 · Leave them out and train again" in page_text(app)
    assert "8.0%" in page_text(app)


@pytest.mark.parametrize("name", ["tour", "methods"])
def test_no_page_of_this_group_changes_anything(open_page, investigated, store, name):
    before = sorted(path for path in store.workspace.rglob("*"))
    open_page(name)
    after = set(store.workspace.rglob("*")) - set(before)
    assert not [path for path in after if "runs" in path.parts]
