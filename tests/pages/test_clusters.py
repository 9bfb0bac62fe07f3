"""Clusters: what people change is logged, shown, and can be undone."""

import json
import re

import pandas as pd
import pytest

from core.specs.events import FIRST_NEW_CLUSTER, Save
from core.specs.recipes import Edit, TopK, Where
from core.specs.steps import SuggestSpec
from core.workspace.catalog import Catalog
from pages.components import access
from tests.pages import workspaces
from tests.pages.conftest import opened, page_text


@pytest.fixture
def catalog(store):
    return Catalog(store.workspace)


def field(app, kind: str, label: str):
    (one,) = [one for one in getattr(app, kind) if one.label == label]
    return one


def press(app, label: str):
    return field(app, "button", label).click().run()


def test_clusters_are_listed_with_words_sizes_and_sources(open_page, investigated):
    rows = open_page("clusters").dataframe[0].value
    assert list(rows["pairs"]) == [341, 40]
    assert rows["top source"].iloc[1] == "instructions"
    assert rows["chosen words"].iloc[1] == "sure, lock, pick"


def test_a_suggested_name_is_marked_as_one(open_page, investigated):
    assert "(lock, pick / cannot)" in open_page("clusters").dataframe[0].value["name"].iloc[1]


def test_a_name_is_logged_and_shown(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    field(app, "text_input", "Name").set_value("lock picking").run()
    labels = catalog.state().of(investigated["discover"])
    assert labels.names == {1: "lock picking"}
    assert "1 · lock picking" in list(app.dataframe[0].value["name"])


def test_a_suggestion_is_accepted_as_a_name_and_gone_then(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    assert "Suggestion (words of its pairs): “lock, pick / cannot”." in page_text(app)
    app.button("accept-1-0").click().run()
    assert catalog.state().of(investigated["discover"]).names == {1: "lock, pick / cannot"}
    assert [event.why for event in catalog.events()] == ["suggested by words of its pairs"]
    assert "Suggestion" not in page_text(app)


@pytest.mark.parametrize("host", ["name:sk-secret@127.0.0.1", "169.254.169.254"])
def test_an_endpoint_that_may_not_be_asked_is_refused_before_anything_is_kept(
    open_page, investigated, store, host
):
    app = open_page("clusters")
    field(app, "text_input", "Model").set_value("m")
    field(app, "text_input", "Endpoint").set_value(f"http://{host}/v1").run()
    assert "url" in app.error[0].value
    assert "sk-secret" not in page_text(app)
    assert not store.infos(step="suggest")


def test_what_a_language_model_suggests_comes_first_and_stays_marked(
    open_page, investigated, store, catalog
):
    spec = SuggestSpec(discover=investigated["discover"], llm="namer", url="http://127.0.0.1/v1")
    row = {
        "cluster": 1,
        "name": "Lock <b>picking</b>",
        "description": "Complies.",
        "model": "namer",
    }
    workspaces.finish(store, spec, suggestions=pd.DataFrame([row]), summary={"n_named": 1})
    app = open_page("clusters", one="1")
    assert "1 · (Lock <b>picking</b>)" in list(app.dataframe[0].value["name"])
    asked = "Suggestion (language model namer): “Lock <b>picking</b>”. Complies."
    assert asked in [text.value for text in app.text]  # as text, never as markup
    app.button("accept-1-0").click().run()
    assert catalog.state().of(investigated["discover"]).names == {1: "Lock <b>picking</b>"}


def test_a_cluster_shows_its_part_of_behaviors(open_page, investigated):
    app = open_page("clusters", one="1")
    rows = app.dataframe[0].value.set_index("cluster")
    assert rows["behavior"][1] == "compliance"
    assert rows["part"].round(1).to_dict() == {0: 10.0, 1: 70.0}
    assert "Chosen words: sure, lock, pick\nRejected words: cannot, help" in page_text(app)


def test_a_behavior_of_the_project_stands_before_another_as_large(open_page, investigated, store):
    path = store.output(investigated["discover"]) / "contributions.parquet"
    parts = pd.read_parquet(path)
    other = parts[parts["cluster"] == 1].assign(flag="formatted")
    other["share_of_attribution"] += 0.01
    larger = other.assign(flag="refused", cluster=0, share_of_attribution=0.5)
    pd.concat([parts, other, larger]).to_parquet(path, index=False)
    rows = open_page("clusters").dataframe[0].value.set_index("cluster")
    assert rows["behavior"][1] == "compliance"
    assert rows["behavior"][0].startswith("refused")


def test_a_suggested_name_is_no_heading_until_it_is_accepted(open_page, investigated):
    app = open_page("clusters", one="1")
    assert [one.value for one in app.header if one.value.startswith("Cluster")] == ["Cluster 1"]
    app.button("accept-1-0").click().run()
    (heading,) = [one.value for one in app.header if one.value.startswith("Cluster")]
    assert heading.startswith("Cluster 1 ·")


def test_hostile_words_and_very_long_lines_stay_text(open_page, investigated, store):
    path = store.output(investigated["discover"]) / "clusters.parquet"
    clusters = pd.read_parquet(path)
    hostile = "<img src=x onerror=alert(1)> ![x](http://evil.example) \u202e" + "a" * 50_000
    for name in ("words_chosen", "words_rejected", "words_prompt", "suggested_name"):
        clusters[name] = hostile
    clusters.to_parquet(path, index=False)
    app = open_page("clusters", one="1")
    assert not app.exception
    assert max(map(len, page_text(app).splitlines())) < 1_000
    assert "\u202e" not in page_text(app)
    assert not [one for kind in ("markdown", "header", "caption") for one in getattr(app, kind)
                if re.search(r"(?<!\\)<img|(?<!\\)]\(", str(one.value))]  # fmt: skip
    assert app.dataframe[0].value["chosen words"].str.len().max() <= 90


def test_a_mark_is_logged_and_shown(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    field(app, "selectbox", "Mark").set_value("harmful").run()
    assert catalog.state().of(investigated["discover"]).marks == {1: "harmful"}
    assert "harmful" in list(app.dataframe[0].value["mark"])


def test_merged_clusters_are_one_and_their_pairs_are_counted(open_page, investigated, catalog):
    app = open_page("clusters", one="0")
    app.multiselect("merge-0").set_value([1]).run()
    press(app, "Merge")
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


def test_the_undo_of_labels_leaves_the_cart_alone(open_page, investigated, catalog):
    run = investigated["discover"]
    catalog.rename(run, 1, "mine", who="analyst")
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=9))
    catalog.add(edit, who="analyst")
    app = open_page("clusters")
    app.button("undo").click().run()
    assert catalog.state().of(run).names == {}
    assert len(catalog.state().cart) == 1
    assert app.button("undo").disabled
    app.button("redo").click().run()
    assert catalog.state().of(run).names == {1: "mine"}


def test_a_change_keeps_why_and_any_of_them_can_be_undone(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    app.text_input("why").set_value("read ten of them").run()
    field(app, "text_input", "Name").set_value("locks").run()
    field(app, "text_input", "Add a note").set_value("all about locks").run()
    assert [event.why for event in catalog.events()] == ["read ten of them"] * 2
    assert "analyst: all about locks" in page_text(app)


def test_a_name_given_meanwhile_is_shown_and_ones_own_is_not_lost(open_page, investigated, catalog):
    run = investigated["discover"]
    app = open_page("clusters", one="1")
    catalog.rename(run, 1, "theirs", who="ben")
    field(app, "text_input", "Name").set_value("mine").run()
    assert [event.change.name for event in catalog.events()] == ["theirs", "mine"]
    assert field(app, "text_input", "Name").value == "mine"
    assert "Meanwhile ben named it “theirs”. Yours replaced that" in page_text(app)
    assert not app.run().warning
    catalog.rename(run, 1, "theirs again", who="ben")
    assert field(app.run(), "text_input", "Name").value == "theirs again"


def test_a_name_that_the_browser_sends_twice_is_logged_once(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    typed = field(app, "text_input", "Name").set_value("mine")
    catalog.rename(investigated["discover"], 1, "mine", who="the same message, sent before")
    typed.run()
    assert not app.exception
    assert len(catalog.events()) == 1


def test_a_change_that_is_refused_says_so(open_page, investigated, catalog, monkeypatch):
    monkeypatch.setattr(access, "may_edit", lambda: False)
    app = open_page("clusters", one="1")
    field(app, "text_input", "Name").set_value("not mine to name").run()
    assert not app.exception
    assert app.error
    assert catalog.events() == []


def test_a_saved_selection_is_split_off_and_moved_in(open_page, investigated, catalog):
    run = investigated["discover"]
    beta = Where(column="chosen_model", values=("beta",))
    catalog.change(Save(name="beta's", recipe=beta), who="ann")
    app = open_page("clusters", one="1")
    field(app, "text_input", "Name of the new cluster").set_value("beta locks").run()
    app.button("split-now-1").click().run()
    assert app.button("split-now-1").disabled  # until there is another name
    rows = app.dataframe[0].value.set_index("cluster")
    assert rows["pairs"].to_dict() == {0: 341, 1: 20, FIRST_NEW_CLUSTER: 20}
    assert catalog.state().of(run).names == {FIRST_NEW_CLUSTER: "beta locks"}
    app = open_page("clusters", one="0")
    app.button("in-now-0").click().run()
    rows = app.dataframe[0].value.set_index("cluster")
    assert rows["pairs"].to_dict() == {0: 371, 1: 20, FIRST_NEW_CLUSTER: 0}


@pytest.mark.parametrize(
    ("cluster", "part", "column", "phrase", "sizes"),
    [
        ("0", "Source chat: 341 pairs", None, None, None),  # all: nothing to split
        ("1", "Pairs with some words", "prompt", "plant 1", {0: 341, 1: 29, FIRST_NEW_CLUSTER: 11}),
    ],
)
def test_a_cluster_is_split_in_place(
    open_page, investigated, catalog, cluster, part, column, phrase, sizes
):
    app = open_page("clusters", one=cluster)
    if column is None:
        assert part not in app.selectbox(f"split-{cluster}").options
        return
    app.selectbox(f"split-{cluster}").set_value(part).run()
    app.selectbox(f"split-in-{cluster}").set_value(column).run()
    app.text_input(f"split-words-{cluster}").set_value(phrase).run()
    assert "11 of 40 pairs would be split off; 29 stay." in page_text(app)
    field(app, "text_input", "Name of the new cluster").set_value("tens").run()
    app.button(f"split-now-{cluster}").click().run()
    rows = app.dataframe[0].value.set_index("cluster")
    assert rows["pairs"].to_dict() == sizes


def test_a_cluster_of_two_sources_is_split_by_source(open_page, investigated, catalog, project):
    pairs = pd.read_parquet(project.pairs)
    pairs.loc[:9, "source"] = "forum"
    pairs.to_parquet(project.pairs)
    app = open_page("clusters", one="1")
    app.selectbox("split-1").set_value("Source forum: 10 pairs").run()
    field(app, "text_input", "Name of the new cluster").set_value("forum").run()
    app.button("split-now-1").click().run()
    rows = app.dataframe[0].value.set_index("cluster")
    assert rows["pairs"].to_dict() == {0: 341, 1: 30, FIRST_NEW_CLUSTER: 10}


def test_one_pair_is_moved_out(open_page, investigated, catalog):
    app = open_page("clusters", one="1")
    press(app, "Move the pair")
    assert app.dataframe[0].value.set_index("cluster")["pairs"].to_dict() == {0: 341, 1: 39}
    (event,) = catalog.events()
    assert event.change.recipe == Where(column="uid", values=("pair-005",))


def test_labels_of_an_earlier_map_are_offered_and_carried_over(
    open_page, investigated, catalog, store, project, rng
):
    old = investigated["discover"]
    catalog.rename(old, 1, "locks", who="ben")
    catalog.mark(old, 1, "harmful", who="ben")
    generated, indexed = investigated["generate"], investigated["index"]
    tables = workspaces.discovery(rng)
    tables["pairs"]["cluster"] = tables["pairs"]["cluster"].replace({0: 1, 1: 0})
    spec = project.discover(generated, indexed).model_copy(update={"seed": 7})
    new = workspaces.finish(store, spec, **tables)
    app = open_page("clusters", discover=new)
    offered = [frame.value for frame in app.dataframe if "shared" in frame.value]
    assert offered[0][["label", "shared"]].to_numpy().tolist() == [["“locks”, harmful", 100.0]]
    app.button("carry-over").click().run()
    assert catalog.state().of(new).names == {0: "locks"}
    assert catalog.state().of(new).marks == {0: "harmful"}
    assert catalog.state().of(old).names == {1: "locks"}
    assert not [frame for frame in app.dataframe if "shared" in frame.value]


def test_a_cluster_that_vanished_keeps_its_name_and_can_be_made_again(
    open_page, investigated, catalog, store, project, rng
):
    old = investigated["discover"]
    catalog.rename(old, 1, "locks", who="ben")
    tables = workspaces.discovery(rng)
    tables["pairs"]["cluster"] = tables["pairs"]["cluster"].replace({1: -1})
    tables["clusters"] = tables["clusters"].head(1)
    spec = project.discover(investigated["generate"], investigated["index"])
    new = workspaces.finish(store, spec.model_copy(update={"seed": 7}), **tables)
    app = open_page("clusters", discover=new)
    assert [f.value["now"].iloc[0] for f in app.dataframe if "shared" in f.value] == [
        "vanished: in no cluster here"
    ]
    app.button("carry-over").click().run()
    assert not app.error, app.error[0].value
    rows = app.dataframe[0].value.set_index("cluster")
    assert rows.loc[FIRST_NEW_CLUSTER, "pairs"] == 40
    assert catalog.state().of(new).names == {FIRST_NEW_CLUSTER: "locks"}


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
    assert "remove pairs of cluster 1" in page_text(app)


def test_columns_that_a_map_lacks_are_left_out_and_the_rest_is_shown_if_asked(
    open_page, investigated, store
):
    (store.output(investigated["discover"]) / "contributions.parquet").unlink()
    app = open_page("clusters")
    shown = list(app.dataframe[0].proto.column_order)
    assert shown == ["name", "pairs", "prompts", "top source"]
    app.toggle("all-columns").set_value(True).run()
    shown = set(app.dataframe[0].proto.column_order)
    assert {"share", "score", "group similarity", "chosen words", "source share"} < shown
    assert not {"behavior", "part", "mark", "effect size"} & shown


def test_a_long_name_is_complete_in_the_table_and_on_hover_and_cut_in_the_tree(
    open_page, investigated, catalog
):
    name = "tells how to pick the lock of a plant, step by step, and then water it"
    catalog.rename(investigated["discover"], 1, name, who="anna")
    catalog.mark(investigated["discover"], 1, "harmful", who="anna")
    app = opened(open_page("clusters", one="1"), "open-tree")
    assert f"1 · {name}" in set(app.dataframe[0].value["name"])
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    (icicle,) = figure["data"]
    assert icicle["customdata"][2] == f"1 · {name} · harmful"
    assert len(icicle["labels"][2]) < len(name)
    assert icicle["labels"][2].endswith("… · harmful")
    assert figure["layout"]["uniformtext"] == {"minsize": 12, "mode": "hide"}
    assert "381 of 400 pairs are in a cluster" in page_text(app)


def test_score_with_interval_and_stability_of_a_cluster_are_shown_beside_its_words(
    open_page, investigated, store
):
    path = store.output(investigated["discover"]) / "clusters.parquet"
    found = pd.read_parquet(path)
    found.assign(push_low=0.5, push_high=0.6, stability=0.81).to_parquet(path)
    told = page_text(open_page("clusters", one="1"))
    assert "harmful, distractor prompts · score 0.550, 95% 0.500–0.600 · stability 0.81" in told


def test_the_history_names_behaviors_and_what_was_redone(open_page, investigated, catalog):
    edit = Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=9))
    catalog.add(edit, who="ana")
    catalog.undo(who="ana")
    catalog.redo(who="ana")
    log = next(one.value for one in open_page("clusters").dataframe if "change" in one.value)
    assert list(log["what"]) == [
        "redid change 1",
        "undid change 1",
        "cart: flip the top 9 pairs for compliance by attribution",
    ]
