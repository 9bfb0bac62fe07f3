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


def test_links_name_the_behavior_that_rose(open_page, investigated):
    links = open_page("tour").get("page_link")
    rank = [one.proto for one in links if one.proto.label == "Open Rank →"]
    assert {one.query_string for one in rank} == {"behavior=compliance"}


def test_what_the_reader_has_seen_is_ticked(open_page, investigated):
    app = open_page("tour")
    app.checkbox("tour-What did training change?").check().run()
    assert "✓ 2 · What did training change?" in page_text(app)


def test_a_cart_that_holds_pairs_is_a_step_done(open_page, investigated, store):
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=5))
    Catalog(store.workspace).add(edit, who="ana")
    assert "✓ 6 · Put the suspects into the cart" in page_text(open_page("tour"))


def test_a_measured_edit_is_answered(open_page, investigated, project, store, rng):
    workspaces.intervene(store, project, investigated["rank compliance"], rng)
    app = open_page("tour")
    assert "✓ 7 · Flip them and train again" in page_text(app)
    assert "8.0%" in page_text(app)


@pytest.mark.parametrize("name", ["tour", "methods", "performance"])
def test_no_page_of_this_group_changes_anything(open_page, investigated, store, name):
    before = sorted(path for path in store.workspace.rglob("*"))
    open_page(name)
    after = set(store.workspace.rglob("*")) - set(before)
    assert not [path for path in after if "runs" in path.parts]
