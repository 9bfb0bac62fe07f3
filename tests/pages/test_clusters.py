"""Clusters: what people say of them is logged, shown, and can be taken back."""

import pytest

from core.runs.catalog import Catalog
from tests.pages.conftest import said


@pytest.fixture
def catalog(store):
    return Catalog(store.workspace)


def submit(app, label: str):
    (button,) = [one for one in app.button if one.label == label]
    return button.click().run()


def test_clusters_are_listed_with_words_sizes_and_sources(open_page, investigated):
    rows = open_page("clusters").dataframe[0].value
    assert list(rows["pairs"]) == [341, 40]
    assert rows["top source"].iloc[1] == "instructions"
    assert rows["chosen"].iloc[1] == "sure, lock, pick"


def test_a_suggested_name_is_marked_as_one(open_page, investigated):
    assert "(lock, pick / cannot)" in open_page("clusters").dataframe[0].value["name"].iloc[1]


def test_a_name_is_logged_and_shown(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    (field,) = [one for one in app.text_input if one.label == "Name"]
    field.set_value("lock picking")
    submit(app, "Rename")
    labels = catalog.state().of(investigated["discover"])
    assert labels.names == {1: "lock picking"}
    assert "1 · lock picking" in list(app.dataframe[0].value["name"])


def test_a_mark_is_logged_and_shown(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    (field,) = [one for one in app.selectbox if one.label == "Mark"]
    field.set_value("harmful")
    submit(app, "Mark")
    assert catalog.state().of(investigated["discover"]).marks == {1: "harmful"}
    assert "harmful" in list(app.dataframe[0].value["mark"])


def test_merged_clusters_are_one_and_their_pairs_are_counted(open_page, investigated, catalog):
    app = open_page("clusters", one="0")
    app.multiselect[0].set_value([1])
    submit(app, "Merge")
    rows = app.dataframe[0].value
    assert list(rows["cluster"]) == [0]
    assert list(rows["pairs"]) == [381]


def test_undo_takes_back_my_last_change(open_page, investigated, catalog):
    run = investigated["discover"]
    catalog.rename(run, 1, "mine", who="analyst")
    catalog.rename(run, 0, "theirs", who="somebody else")
    app = open_page("clusters")
    app.button("undo").click().run()
    assert catalog.state().of(run).names == {0: "theirs"}
    app.button("redo").click().run()
    assert catalog.state().of(run).names == {0: "theirs", 1: "mine"}


def test_hostile_names_are_not_drawn_as_markdown(open_page, investigated, catalog):
    catalog.rename(investigated["discover"], 1, "![x](http://evil.example/x.png)", who="mallory")
    app = open_page("clusters", one="1")
    drawn = [*app.markdown, *app.caption, *app.header, *app.subheader]
    assert not any("![x](" in part.value for part in drawn)


def test_a_cluster_goes_to_the_cart(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    app.button("add-cluster-1").click().run()
    (entry,) = catalog.state().cart
    assert entry.edit.recipe.clusters == (1,)
    assert "flip pairs of cluster 1" in said(app)
