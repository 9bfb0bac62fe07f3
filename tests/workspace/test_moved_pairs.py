"""Whatever is merged and moved, every pair stays in exactly one cluster."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.intervention.edits.select import select
from core.runs.store import Store
from core.specs.events import Save
from core.specs.recipes import Where
from core.workspace import label_files
from core.workspace.catalog import Catalog

RUN, N = "discover-0123456789abcdef", 24
CLUSTERS = st.integers(-1, 3) | st.integers(10_000, 10_002)
UIDS = st.lists(st.integers(0, N - 1), min_size=1, max_size=6)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), CLUSTERS | st.none(), UIDS),
        st.tuples(st.just("merge"), CLUSTERS, st.lists(CLUSTERS, min_size=1, max_size=2)),
        st.tuples(st.just("undo")),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("workspace"))
    output = store.folder(RUN) / "output"
    output.mkdir(parents=True)
    uids = [f"u{i}" for i in range(N)]
    place = np.arange(N, dtype=float)
    table = pd.DataFrame({"uid": uids, "x": place % 5, "y": place % 7, "cluster": place % 5 - 1})
    table.astype({"cluster": int}).to_parquet(output / "pairs.parquet")
    return store, pd.DataFrame({"uid": uids})


def perform(catalog, name, *given):
    try:
        if name == "assign":
            recipe = Where(column="uid", values=tuple(f"u{i}" for i in given[1]))
            catalog.assign(RUN, given[0], recipe, who="ann")
        elif name == "merge":
            catalog.merge(RUN, *given, who="ann")
        else:
            catalog.undo(who="ann")
    except UserError:
        pass


@settings(max_examples=30, deadline=None)
@given(OPERATIONS)
def test_every_pair_is_in_one_cluster(mapped, tmp_path_factory, operations):
    store, pairs = mapped
    catalog = Catalog(tmp_path_factory.mktemp("catalog"))
    for operation in operations:
        perform(catalog, *operation)
    labels = catalog.state().of(RUN)
    known = {*range(-1, 4), *labels.recipes}
    held = [select(labels.recipe(c), pairs, store) for c in known if labels.exists(c)]
    assert np.sum(held, axis=0).tolist() == [1] * N


@pytest.mark.parametrize("target", [2, None, -1])
def test_moved_pairs_are_in_their_new_cluster(mapped, tmp_path, target):
    store, pairs = mapped
    catalog = Catalog(tmp_path)
    recipe = Where(column="uid", values=("u0", "u1", "u7"))
    event = catalog.assign(RUN, target, recipe, who="ann", why="read them")
    inside = select(catalog.state().of(RUN).recipe(event.change.cluster), pairs, store)
    assert inside[[0, 1, 7]].all()


def test_pairs_moved_to_a_cluster_follow_it_into_another(mapped, tmp_path):
    store, pairs = mapped
    catalog = Catalog(tmp_path)
    catalog.assign(RUN, 2, Where(column="uid", values=("u0",)), who="ann")
    catalog.merge(RUN, 1, [2], who="ann")
    assert select(catalog.state().of(RUN).recipe(1), pairs, store)[0]


def test_saved_selections_are_kept_replaced_and_forgotten(tmp_path):
    catalog = Catalog(tmp_path)
    for source in ("a", "b"):
        recipe = Where(column="source", values=(source,))
        catalog.change(Save(name="mine", recipe=recipe), who="ann")
    assert catalog.state().selections == {"mine": recipe}
    other = Catalog(tmp_path / "other")
    other.import_labels(label_files.to_json(catalog.state()), who="ben")
    assert other.state().selections == {"mine": recipe}
    catalog.forget("mine", who="ann")
    assert catalog.state().selections == {}
    with pytest.raises(UserError, match="no saved selection"):
        catalog.forget("mine", who="ann")
