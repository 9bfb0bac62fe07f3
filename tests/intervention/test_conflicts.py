"""Where two edits want different things of a pair, and the ways out."""

import pandas as pd
import pytest

from core.intervention.conflicts import conflicts, leaving
from core.intervention.edits import plan
from core.intervention.recipes import Edit, Where
from core.intervention.selection import select
from core.runs.store import Store

CHAT = Where(column="source", values=("chat",))
SOME = Where(column="uid", values=("u1", "u2", "u9"))


@pytest.fixture
def pairs():
    sources = ["chat"] * 4 + ["code"] * 8
    return pd.DataFrame({"uid": [f"u{i}" for i in range(12)], "source": sources})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def masks(edits, pairs, store):
    return [select(edit.recipe, pairs, store) for edit in edits]


def test_a_conflict_names_both_edits_and_counts_the_pairs(pairs, store):
    edits = [Edit(action="remove", recipe=CHAT), Edit(action="flip", recipe=SOME)]
    assert conflicts(edits, masks(edits, pairs, store), pairs) == [(1, 0, 2, "u1")]


def test_pairs_that_a_third_edit_keeps_are_no_conflict(pairs, store):
    kept = Edit(action="keep", recipe=CHAT)
    edits = [Edit(action="remove", recipe=CHAT), Edit(action="flip", recipe=SOME), kept]
    assert not conflicts(edits, masks(edits, pairs, store), pairs)


@pytest.mark.parametrize(("giver", "counts"), [(0, (2, 3)), (1, (4, 1))])
def test_leaving_the_pairs_to_the_other_edit_mends_it(pairs, store, giver, counts):
    edits = [Edit(action="remove", recipe=CHAT), Edit(action="flip", recipe=SOME)]
    edits[giver] = leaving(edits[giver], edits[1 - giver])
    actions = plan(edits, pairs, store)["action"].value_counts()
    assert (actions["remove"], actions["flip"]) == counts
