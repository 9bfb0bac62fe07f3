"""Conflicts and overlap of two edits, pair by pair; lengths and norms of what an edit touches."""

import numpy as np
import pandas as pd
import pytest

from core.intervention.edits.apply import plan
from core.intervention.edits.checks import conflicts, covariate_shift, overlap, without
from core.intervention.edits.select import select
from core.runs.store import Store
from core.specs.recipes import Edit, Where


def acted(**actions: str) -> pd.DataFrame:
    return pd.DataFrame({"uid": list(actions), "action": list(actions.values())})


def test_every_touched_pair_is_counted_once():
    one = acted(a="flip", b="flip", c="remove", e="keep")
    two = acted(b="flip", c="flip", d="remove", e="remove")
    assert overlap(one, two) == (1, 1, 2, 1)
    assert overlap(one, one) == (3, 0, 0, 0)


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
    assert conflicts(edits, masks(edits, pairs, store), pairs) == [(0, 1, 2, "u1")]


def test_pairs_that_a_third_edit_keeps_are_no_conflict(pairs, store):
    kept = Edit(action="keep", recipe=CHAT)
    edits = [Edit(action="remove", recipe=CHAT), Edit(action="flip", recipe=SOME), kept]
    assert not conflicts(edits, masks(edits, pairs, store), pairs)


@pytest.mark.parametrize(("giver", "counts"), [(0, (2, 3)), (1, (4, 1))])
def test_leaving_the_pairs_to_the_other_edit_fixes_it(pairs, store, giver, counts):
    edits = [Edit(action="remove", recipe=CHAT), Edit(action="flip", recipe=SOME)]
    edits[giver] = without(edits[giver], edits[1 - giver])
    actions = plan(edits, pairs, store)["action"].value_counts()
    assert (actions["remove"], actions["flip"]) == counts


def test_longer_touched_completions_show_in_standard_deviations():
    n = 40
    chosen = np.where(np.arange(n) < 10, 30, 10)
    lengths = pd.DataFrame({"prompt": 1, "chosen": chosen, "rejected": 2})
    table = covariate_shift(lengths, np.arange(n) < 10, np.ones(n)).set_index("what")
    row = table.loc["chosen, characters"]
    assert (row["touched"], row["rest"]) == (30, 10)
    assert row["difference"] == 20 / lengths["chosen"].std()
    assert np.isnan(table.loc["prompt, characters", "difference"])
    assert np.isnan(table.loc["norm of the datapoint vector", "difference"])
