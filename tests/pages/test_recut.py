"""A map cut coarser or finer by the real step: its labels are kept, and offered."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from core.runs.execute import execute
from core.specs.events import FIRST_NEW_CLUSTER
from core.storage.tables import record
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import page_text

TWO, THREE = 0.999 / 0.5, 0.999 / 2.0  # the levels of the workspace's tree
NO_PLANTED = 0.22  # the planted group has dissolved, the two halves of the others are there


@pytest.fixture
def catalog(store):
    return Catalog(store.workspace)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """Where the runs of this file's cuts are kept: every test has the same map."""
    return tmp_path_factory.mktemp("cuts")


@pytest.fixture
def cut(store, investigated, cuts):
    """Cut the map at a distance; the run that is made."""

    def made(level: float, base: str = investigated["discover"]) -> str:
        spec = store.spec(base).model_copy(update={"recut": base, "level": level})
        run = store.run_id(spec)
        if not (cuts / run).exists():
            execute(spec, store)
            shutil.copytree(store.folder(run), cuts / run)
        shutil.copytree(cuts / run, store.folder(run), dirs_exist_ok=True)
        return run

    return made


def slider(app):
    (one,) = [one for one in app.select_slider if one.label == "Groups on the map"]
    return one


def offers(app) -> pd.DataFrame:
    shown = [frame.value for frame in app.dataframe if "shared" in frame.value]
    return shown[0] if shown else pd.DataFrame()


def test_the_slider_offers_every_number_of_groups_and_the_command(open_page, investigated):
    app = open_page("clusters")
    assert slider(app).options == ["as discovered", "2", "3"]
    app = slider(app).set_value(TWO).run()
    assert f"--recut {investigated['discover']} --level 1.998" in page_text(app)
    assert [one.label for one in app.button if one.label == "Cut it here"]


def test_a_finished_cut_can_be_shown_and_says_which_groups_it_has(open_page, cut):
    made = cut(THREE)
    app = slider(open_page("clusters")).set_value(THREE).run()
    app = app.button("show-cut").click().run()
    assert app.selectbox("discover").value == made
    assert app.dataframe[0].value["pairs"].min() == workspaces.N_PLANTED
    assert len(app.dataframe[0].value) == 3
    assert slider(app).value == THREE
    assert any(
        "cut into 3 at the distance 0.499" in one for one in app.selectbox("discover").options
    )


def test_a_level_that_was_typed_is_shown_as_what_it_is(open_page, cut):
    app = open_page("clusters", discover=cut(NO_PLANTED))
    assert slider(app).value == NO_PLANTED
    assert slider(app).options == ["as discovered", "2", "2 at 0.22", "3"]


def test_a_cut_is_not_shown_unasked_where_the_planned_map_is_absent(open_page, store, cut, project):
    old = store.spec(store.finished("discover")[0]).model_copy(update={"seed": 7})
    whole = workspaces.finish(store, old, **workspaces.discovery(np.random.default_rng(0)))
    cut(THREE, whole)
    store.delete(store.run_id(project.discover(old.generate, old.index)))
    assert open_page("clusters").selectbox("discover").value == whole


def test_names_marks_and_notes_are_kept_and_offered_to_the_same_pairs(
    open_page, investigated, catalog, cut
):
    base = investigated["discover"]
    catalog.rename(base, 0, "gardening", who="ann")
    catalog.rename(base, 1, "locks", who="ben")
    catalog.mark(base, 1, "harmful", who="ben")
    catalog.note(base, 1, "all comply", who="ben")
    made = cut(THREE)
    app = open_page("clusters", discover=made)
    table = offers(app).set_index("label")
    assert table.loc["“locks”, harmful, notes: 1", "now"].startswith("2 · (")
    assert table.loc["“locks”, harmful, notes: 1", "shared"] == 100
    assert 45 < table.loc["“gardening”", "shared"] < 60  # of the larger half
    (locks,) = [i for i, one in enumerate(offers(app)["label"]) if "locks" in one]
    app = app.selectbox("offer").set_value(locks).run()
    app = app.button("carry-over").click().run()
    now = catalog.state().of(made)
    assert (now.names, now.marks) == ({2: "locks"}, {2: "harmful"})
    assert [note.text for note in now.notes[2]] == ["all comply (ben, of an earlier map)"]
    assert offers(app)["label"].tolist() == ["“gardening”"]
    assert catalog.state().of(base).names == {0: "gardening", 1: "locks"}
    assert catalog.events()[-1].why == f"from {base}, cluster 1"


def test_merged_and_moved_pairs_are_kept_and_offered_as_a_cluster_of_their_own(
    open_page, investigated, catalog, cut
):
    base = investigated["discover"]
    catalog.merge(base, 0, [1], who="ann")
    made = cut(THREE)
    app = open_page("clusters", discover=made)
    (offer,) = offers(app).to_dict("records")
    assert offer["label"] == "merged or moved by hand, without a name"
    assert offer["pairs"] == 381
    app = app.button("carry-over").click().run()
    assert app.dataframe[0].value.set_index("cluster").loc[FIRST_NEW_CLUSTER, "pairs"] == 381
    assert offers(app).empty


def test_a_cluster_that_a_cut_dissolves_has_vanished_and_can_be_made_again(
    open_page, investigated, catalog, cut
):
    catalog.rename(investigated["discover"], 1, "locks", who="ben")
    made = cut(NO_PLANTED)
    app = open_page("clusters", discover=made)
    assert offers(app)["now"].tolist() == ["vanished: in no cluster here"]
    app = app.button("carry-over").click().run()
    assert not app.error
    assert catalog.state().of(made).names == {FIRST_NEW_CLUSTER: "locks"}
    assert app.dataframe[0].value.set_index("cluster").loc[FIRST_NEW_CLUSTER, "pairs"] == 40


def test_an_edit_of_a_cluster_holds_the_same_pairs_while_a_cut_is_shown(
    open_page, investigated, catalog, cut
):
    open_page("clusters", one="1").button("add-cluster-1").click().run()
    made = cut(THREE)
    app = open_page("clusters", discover=made)
    assert "remove pairs of cluster 1" in page_text(app)
    (entry,) = catalog.state().cart
    assert entry.edit.recipe.discover == investigated["discover"]


def test_a_cut_of_a_map_that_kept_nothing_to_compare_with_says_so(open_page, cut):
    told = page_text(open_page("clusters", discover=cut(THREE)))
    assert "The stability of these clusters was not computed" in told
    assert "Not computed: an earlier version made this map" in told


def test_the_agreement_of_clusters_made_once_more_stands_beside_them(
    open_page, store, investigated
):
    path = store.output(investigated["discover"]) / "summary.json"
    agreement = {"mean": 0.7, "low": 0.66, "high": 0.76, "n": 10}
    path.write_text(json.dumps(record(path) | {"stability": {"clusters_over_prompts": agreement}}))
    told = page_text(open_page("clusters"))
    assert "other draws of prompts: 0.70 (0.66 to 0.76, n = 10)" in told
