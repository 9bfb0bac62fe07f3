"""The edit step, from files to files."""

import json

import pandas as pd
import pytest

from core.data.pairs import read_pairs, write_pairs
from core.intervention.recipes import Edit, Where
from core.runs.execution import execute
from core.runs.specs import EditSpec
from core.runs.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


@pytest.fixture
def spec(tmp_path):
    pairs = pd.DataFrame(
        {
            "uid": [str(i) for i in range(10)],
            "prompt": "p",
            "chosen": [f"c{i}" for i in range(10)],
            "rejected": [f"r{i}" for i in range(10)],
            "source": ["chat"] * 5 + ["code"] * 5,
        }
    )
    write_pairs(pairs, tmp_path / "pairs.jsonl")
    flip = Edit(action="flip", recipe=Where(column="uid", values=("1", "7")), why="mislabelled")
    return EditSpec(pairs=str(tmp_path / "pairs.jsonl"), edits=(flip,))


def test_an_edited_arm_and_its_control_have_the_same_sizes(store, spec):
    control = spec.model_copy(update={"control": 0})
    edited, matched = (
        json.loads((store.output(execute(s, store)) / "summary.json").read_text())
        for s in (spec, control)
    )
    assert edited["n_flipped"] == matched["n_flipped"] == 2
    assert edited["per_source"] == matched["per_source"]
    assert (edited["control"], matched["control"]) == (None, 0)


def test_editing_an_edit_undoes_a_flip(store, spec):
    first = execute(spec, store)
    second = execute(spec.model_copy(update={"pairs": first}), store)
    again = read_pairs(store.pairs(second)).pairs
    assert not again["flipped"].any()
    original = read_pairs(spec.pairs).pairs
    pd.testing.assert_frame_equal(again.drop(columns="flipped"), original)


def test_actions_say_which_pair_and_why(store, spec):
    actions = pd.read_parquet(store.output(execute(spec, store)) / "actions.parquet")
    assert actions.to_dict("records") == [
        {"uid": "1", "action": "flip", "why": "mislabelled"},
        {"uid": "7", "action": "flip", "why": "mislabelled"},
    ]
