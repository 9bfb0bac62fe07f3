"""Carts rearranged in one step, versions that are never overwritten, verdicts by person."""

import pytest

from core.errors import UserError
from core.specs.events import Completion, Put, SaveEdit, Verdict
from core.specs.recipes import Edit, Where
from core.workspace.catalog import Catalog
from core.workspace.labels import State, replay


@pytest.fixture
def catalog(tmp_path):
    return Catalog(tmp_path)


def edit(source: str) -> Edit:
    return Edit(action="remove", recipe=Where(column="source", values=(source,)))


def in_cart(catalog) -> list[Edit]:
    return [entry.edit for entry in catalog.state().cart]


def test_one_undo_takes_back_a_whole_rearrangement(catalog):
    old = catalog.add(edit("a"), who="ann").id
    catalog.change(Put(entries=(old,), edits=(edit("b"), edit("c"))), who="ann")
    assert in_cart(catalog) == [edit("b"), edit("c")]
    catalog.undo(who="ann")
    assert in_cart(catalog) == [edit("a")]


def test_what_is_put_in_stands_where_the_old_entry_stood(catalog):
    first = catalog.add(edit("a"), who="ann").id
    catalog.add(edit("z"), who="ben")
    catalog.change(Put(entries=(first,), edits=(edit("b"),)), who="ann")
    assert in_cart(catalog) == [edit("b"), edit("z")]


def test_entries_that_were_put_in_can_be_taken_out_one_by_one(catalog):
    catalog.change(Put(edits=(edit("b"), edit("c"))), who="ann")
    catalog.remove(catalog.state().cart[0].id, who="ben")
    assert in_cart(catalog) == [edit("c")]


def test_a_rearrangement_of_what_someone_else_took_out_is_refused(catalog):
    old = catalog.add(edit("a"), who="ann").id
    catalog.remove(old, who="ben")
    with pytest.raises(UserError, match="changed meanwhile"):
        catalog.change(Put(entries=(old,), edits=(edit("b"),)), who="ann")


def test_saving_again_makes_the_next_version_and_keeps_the_first(catalog):
    for source in ("a", "b"):
        catalog.change(SaveEdit(name="plan", edits=(edit(source),)), who="ann")
    versions = catalog.state().versions
    assert [(v.name, v.number, v.edits) for v in versions] == [
        ("plan", 1, (edit("a"),)),
        ("plan", 2, (edit("b"),)),
    ]


def test_everybody_has_a_verdict_of_their_own_and_the_latest_holds(catalog):
    where = {"run": "evaluate-0123456789abcdef", "prompt_id": "p", "condition": "plain"}
    for who, shown in (("ann", True), ("ben", None), ("ann", False)):
        change = Verdict(**where, rollout=2, flag="complied", shown=shown)
        catalog.change(change, who=who)
    about = Completion(*where.values(), 2, "complied")
    said = {who: one.shown for (_, who), one in catalog.state().verdicts.items()}
    assert said == {"ann": False, "ben": None}
    assert {key for key, _ in catalog.state().verdicts} == {about}


def test_replaying_the_log_gives_the_same_state(catalog):
    catalog.change(Put(edits=(edit("b"),)), who="ann")
    catalog.change(SaveEdit(name="plan", edits=(edit("b"),)), who="ann")
    assert replay(catalog.events()) == catalog.state() != State()
