"""Keyboard shortcuts: one meaning each, never two on a page, all of them listed."""

from collections import Counter

import pytest

from core.specs.recipes import Edit, TopK
from core.workspace.catalog import Catalog
from pages.components import shortcuts as shortcut_keys
from tests.pages.conftest import page_text

NAMES = ("overview", "data", "behaviors", "rank", "map", "clusters", "intervene", "results")


def shortcuts(app):
    return Counter(one.proto.shortcut.upper() for one in app.button if one.proto.shortcut)


@pytest.mark.parametrize("name", NAMES)
def test_no_key_does_two_things_on_a_page_and_each_is_listed(open_page, investigated, store, name):
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=5))
    Catalog(store.workspace).add(edit, who="analyst")
    app = open_page(name)
    found = shortcuts(app)
    listed = " ".join(shortcut_keys.MEANING).split()
    assert all(count == 1 for count in found.values())
    assert set(found) <= set(listed)


def test_main_actions_have_a_key(open_page, investigated, store):
    assert shortcut_keys.ADD in shortcuts(open_page("rank"))
    assert {shortcut_keys.NEXT, shortcut_keys.PREVIOUS, shortcut_keys.UNDO} <= set(
        shortcuts(open_page("clusters"))
    )
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=5))
    Catalog(store.workspace).add(edit, who="analyst")
    assert {shortcut_keys.START, shortcut_keys.UNDO} <= set(shortcuts(open_page("intervene")))


def test_the_sidebar_lists_the_keys(open_page, investigated):
    app = open_page("overview").button("keyboard").click().run()
    assert "undo my latest change" in page_text(app)


def test_the_next_example_is_read(open_page, investigated):
    app = open_page("clusters")
    before = page_text(app)
    next(button for button in app.button if button.label == "↓ Next").click().run()
    assert not app.exception
    assert page_text(app) != before
