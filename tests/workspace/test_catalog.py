"""The catalog: nothing is lost, everything can be undone, the log is the truth."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.specs.events import FIRST_NEW_CLUSTER, Name
from core.specs.recipes import AllOf, AnyOf, Edit, InCluster, NoneOf, Where
from core.workspace import label_files
from core.workspace.catalog import Catalog
from core.workspace.labels import Labels, State, replay

RUN = "discover-0123456789abcdef"
CHAT = Where(column="source", values=("chat",))


@pytest.fixture
def catalog(tmp_path):
    return Catalog(tmp_path)


def edit(source="a", action="remove"):
    return Edit(action=action, recipe=Where(column="source", values=(source,)))


def test_a_fresh_catalog_says_nothing(catalog):
    assert catalog.state() == State()
    assert catalog.events() == []


def test_the_latest_name_and_mark_of_a_cluster_hold(catalog):
    catalog.rename(RUN, 3, "compliance", who="ann")
    catalog.mark(RUN, 3, "harmful", who="ben", why="read ten pairs")
    catalog.rename(RUN, 3, " complies when distracted ", who="ben")
    labels = catalog.state().of(RUN)
    assert labels.names == {3: "complies when distracted"}
    assert labels.marks == {3: "harmful"}


def test_an_empty_name_takes_the_name_away(catalog):
    catalog.rename(RUN, 3, "compliance", who="ann")
    catalog.rename(RUN, 3, "  ", who="ann")
    assert catalog.state().of(RUN).names == {}


def test_notes_keep_who_and_when(catalog):
    catalog.note(RUN, -1, "noise looks odd", who="ann")
    (note,) = catalog.state().of(RUN).notes[-1]
    assert (note.who, note.text) == ("ann", "noise looks odd")
    assert note.time > 0


def test_a_merged_cluster_holds_the_pairs_of_all_parts(catalog):
    catalog.merge(RUN, 1, [2, 5], who="ann")
    labels = catalog.state().of(RUN)
    parts = tuple(InCluster(discover=RUN, clusters=(c,)) for c in (1, 2, 5))
    assert labels.recipe(1) == AnyOf(parts=parts)
    assert [labels.exists(c) for c in (1, 2, 5)] == [True, False, False]


def test_a_new_cluster_takes_its_pairs_from_the_others(catalog):
    new = catalog.assign(RUN, None, CHAT, who="ann").change.cluster
    labels, cluster = catalog.state().of(RUN), InCluster(discover=RUN, clusters=(1,))
    assert new == FIRST_NEW_CLUSTER
    assert labels.recipe(new) == CHAT
    assert labels.recipe(1) == AllOf(parts=(cluster, NoneOf(parts=(CHAT,))))


def test_a_new_cluster_never_takes_a_number_that_was_used_before(catalog):
    catalog.assign(RUN, None, CHAT, who="ann")
    catalog.undo(who="ann")
    assert catalog.assign(RUN, None, CHAT, who="ann").change.cluster == FIRST_NEW_CLUSTER + 1


def test_a_cluster_that_was_merged_away_cannot_be_merged_again(catalog):
    catalog.merge(RUN, 1, [2], who="ann")
    with pytest.raises(UserError, match="no cluster 2"):
        catalog.merge(RUN, 3, [2], who="ben")


def test_undo_brings_back_what_was_before(catalog):
    catalog.rename(RUN, 1, "first", who="ann")
    before = catalog.state()
    catalog.merge(RUN, 1, [2], who="ann")
    catalog.undo(who="ann")
    assert catalog.state() == before


def test_undo_is_ones_own(catalog):
    catalog.rename(RUN, 1, "mine", who="ann")
    catalog.rename(RUN, 2, "yours", who="ben")
    catalog.undo(who="ann")
    assert catalog.state().of(RUN).names == {2: "yours"}


def test_an_event_is_undone_once(catalog):
    event = catalog.rename(RUN, 1, "x", who="ann")
    catalog.undo(event.id, who="ben")
    with pytest.raises(UserError, match="undone already"):
        catalog.undo(event.id, who="ann")


def test_redo_takes_back_undos_from_the_latest_on(catalog):
    catalog.rename(RUN, 1, "one", who="ann")
    catalog.rename(RUN, 1, "two", who="ann")
    catalog.undo(who="ann")
    catalog.undo(who="ann")
    catalog.redo(who="ann")
    assert catalog.state().of(RUN).names == {1: "one"}
    catalog.redo(who="ann")
    assert catalog.state().of(RUN).names == {1: "two"}
    with pytest.raises(UserError, match="nothing to redo"):
        catalog.redo(who="ann")


def test_labels_and_the_cart_are_redone_apart(catalog):
    catalog.rename(RUN, 1, "locks", who="ann")
    catalog.undo(who="ann")
    catalog.add(edit(), who="ann")
    with pytest.raises(UserError, match="nothing to redo"):
        catalog.redo(who="ann")
    catalog.redo((Name,), who="ann")
    assert catalog.state().of(RUN).names == {1: "locks"}
    assert len(catalog.state().cart) == 1


def test_a_change_after_an_undo_ends_redo(catalog):
    catalog.rename(RUN, 1, "one", who="ann")
    catalog.undo(who="ann")
    catalog.rename(RUN, 2, "two", who="ann")
    with pytest.raises(UserError, match="nothing to redo"):
        catalog.redo(who="ann")


def test_the_cart_keeps_edits_in_order_with_who_and_why(catalog):
    catalog.add(edit("a"), who="ann", why="mislabelled")
    catalog.add(edit("b", "flip"), who="ben")
    cart = catalog.state().cart
    assert [(entry.edit, entry.who) for entry in cart] == [
        (edit("a"), "ann"),
        (edit("b", "flip"), "ben"),
    ]
    assert catalog.events()[0].why == "mislabelled"


def test_removing_can_be_undone(catalog):
    first = catalog.add(edit("a"), who="ann")
    second = catalog.add(edit("b"), who="ann")
    full = catalog.state().cart
    catalog.remove(first.id, who="ann")
    catalog.remove(second.id, who="ann")
    assert catalog.state().cart == ()
    catalog.undo(who="ann")
    catalog.undo(who="ann")
    assert catalog.state().cart == full


def test_an_entry_that_is_gone_cannot_be_removed(catalog):
    with pytest.raises(UserError, match="not in the edit cart"):
        catalog.remove(7, who="ann")


def test_labels_survive_export_and_import(catalog, tmp_path):
    catalog.rename(RUN, 1, "één <b>", who="ann")
    catalog.mark(RUN, 1, "unwanted", who="ann")
    catalog.note(RUN, -1, "look\nagain", who="ann")
    other = Catalog(tmp_path / "other")
    other.import_labels(label_files.to_json(catalog.state()), who="ben")
    assert label_files.to_json(other.state()) == label_files.to_json(catalog.state())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"labels": 3}',
        '{"labels": {"r": {"one": {}}}}',
        '{"labels": {"r": {"1": 3}}}',
        '{"labels": {"r": {"1": {"name": "kept?"}, "2": {"mark": "nice"}}}}',
    ],
)
def test_a_broken_import_changes_nothing(catalog, text):
    with pytest.raises(UserError, match="not labels"):
        catalog.import_labels(text, who="ann")
    assert catalog.events() == []


def test_a_file_that_is_no_catalog_is_refused(tmp_path):
    (tmp_path / "catalog.sqlite").write_text("these are not pages of a database" * 50)
    with pytest.raises(
        UserError, match=r"catalog\.sqlite: file is not a database\. It contains names"
    ):
        Catalog(tmp_path)


CLUSTERS = st.integers(-1, 4) | st.just(FIRST_NEW_CLUSTER)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("rename"), CLUSTERS, st.text(max_size=3)),
        st.tuples(st.just("mark"), CLUSTERS, st.sampled_from(["harmful", "ignore", None])),
        st.tuples(st.just("note"), CLUSTERS, st.text(max_size=3)),
        st.tuples(st.just("merge"), CLUSTERS, st.lists(CLUSTERS, max_size=2)),
        st.tuples(st.just("assign"), CLUSTERS | st.none()),
        st.tuples(st.just("add"), st.sampled_from("abc")),
        st.tuples(st.just("remove"), st.integers(1, 12)),
        st.tuples(st.sampled_from(["undo", "redo"])),
    ),
    max_size=25,
)


def perform(catalog, operation):
    """Do one random thing; what is refused must leave no trace."""
    name, *rest = operation
    before = len(catalog.events())
    try:
        if name in ("undo", "redo"):
            getattr(catalog, name)(who="ann")
        elif name == "add":
            catalog.add(edit(*rest), who="ann")
        elif name == "remove":
            catalog.remove(*rest, who="ann")
        elif name == "assign":
            catalog.assign(RUN, *rest, CHAT, who="ann")
        else:
            getattr(catalog, name)(RUN, *rest, who="ann")
    except UserError:
        assert len(catalog.events()) == before


@settings(max_examples=40, deadline=None)
@given(OPERATIONS)
def test_undoing_everything_passes_through_every_earlier_state(tmp_path_factory, operations):
    """Undo steps back through the states that were live, and redo comes forward again."""
    catalog = Catalog(tmp_path_factory.mktemp("catalog"))
    lived = [catalog.state()]
    for operation in [o for o in operations if o[0] not in ("undo", "redo")]:
        before = len(catalog.events())
        perform(catalog, operation)
        if len(catalog.events()) > before:
            lived.append(catalog.state())
    for state in reversed(lived):
        assert catalog.state() == state
        if state is not lived[0]:
            catalog.undo(who="ann")
    for state in lived[1:]:
        catalog.redo(who="ann")
        assert catalog.state() == state


@settings(max_examples=40, deadline=None)
@given(OPERATIONS)
def test_a_reopened_catalog_replays_to_the_live_state(tmp_path_factory, operations):
    folder = tmp_path_factory.mktemp("catalog")
    catalog = Catalog(folder)
    for operation in operations:
        perform(catalog, operation)
    assert replay(Catalog(folder).events()) == catalog.state()
    for labels in catalog.state().labels.values():
        assert isinstance(labels, Labels)
        assert all(labels.exists(target) or target in labels.merged for target in labels.recipes)


WRITER = """
import json, random, sys
from pathlib import Path
from core.errors import UserError
from core.specs.recipes import Edit, Where
from core.workspace.catalog import Catalog
catalog, who, count = Catalog(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
draw, run, told = random.Random(who), "discover-0123456789abcdef", []
while len(told) < count:
    cluster, other = draw.sample(range(-1, 7), 2)
    recipe = Where(column="uid", values=(f"{who}{len(told)}",))
    kind = draw.choice(["name", "mark", "note", "add", "assign", "merge", "undo", "redo"])
    try:
        event = {
            "name": lambda: catalog.rename(run, cluster, f"{who} {len(told)}", who=who),
            "mark": lambda: catalog.mark(run, cluster, draw.choice(["harmful", None]), who=who),
            "note": lambda: catalog.note(run, cluster, f"{who} {len(told)}", who=who),
            "add": lambda: catalog.add(Edit(action="flip", recipe=recipe), who=who),
            "assign": lambda: catalog.assign(run, draw.choice([cluster, None]), recipe, who=who),
            "merge": lambda: catalog.merge(run, cluster, [other], who=who),
            "undo": lambda: catalog.undo(who=who),
            "redo": lambda: catalog.redo(who=who),
        }[kind]()
        told.append(event.model_dump(mode="json"))
    except UserError:
        pass  # merged away by the other writer, or nothing to undo
print(json.dumps(told))
"""


def test_two_processes_that_write_at_once_lose_nothing_and_write_nothing_twice(tmp_path):
    count = 100
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    root = Path(__file__).parents[2]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [
        subprocess.Popen([*command, who, str(count)], cwd=root, **pipes) for who in ("ann", "ben")
    ]
    ended = [writer.communicate(timeout=300) for writer in writers]
    assert [errors.decode() for _, errors in ended] == ["", ""]
    told = [event for output, _ in ended for event in json.loads(output)]
    events = Catalog(tmp_path).events()
    assert [event.id for event in events] == list(range(1, 2 * count + 1))
    assert [event.model_dump(mode="json") for event in events] == sorted(
        told, key=lambda event: event["id"]
    )
    made = [event.change for event in events if event.change.kind == "assign"]
    numbers = [change.cluster for change in made if change.new]
    assert len(set(numbers)) == len(numbers)  # no two clusters share a number
