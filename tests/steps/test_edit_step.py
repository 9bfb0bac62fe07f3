"""The edit step, from files to files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.canonical import write_pairs
from core.data.pairs import read_pairs
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.base import identity, references
from core.specs.recipes import Contains, Edit, EditSpec, Where
from core.specs.steps import ConvertSpec, TrainSpec

ORGANISM = Path(__file__).parents[2] / "assets" / "organism"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workspace")


@pytest.fixture
def model_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "model"


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


@pytest.mark.parametrize("control", [None, 3])
def test_an_arm_written_in_parts_is_the_arm_written_at_once(store, tmp_path, monkeypatch, control):
    monkeypatch.setattr("core.data.pair_table.ROWS", 37)
    known = read_pairs(ORGANISM / "pairs.parquet").pairs.head(400)
    known = known.assign(score=range(400), seen=[None, True, False, True] * 100)
    known.to_parquet(tmp_path / "given.parquet")
    known = read_pairs(tmp_path / "given.parquet").pairs
    edits = (
        Edit(action="remove", recipe=Where(column="uid", values=tuple(known["uid"][::10]))),
        Edit(action="keep", recipe=Contains(column="chosen", phrase="the")),
        Edit(action="flip", recipe=Where(column="uid", values=tuple(known["uid"][1::10]))),
    )
    spec = EditSpec(pairs=str(tmp_path / "given.parquet"), edits=edits, control=control)
    output = store.output(execute(spec, store))
    action = pd.read_parquet(output / "actions.parquet").set_index("uid")["action"]
    action = known["uid"].map(action)
    assert set(action.dropna()) == ({"remove", "flip"} if control else {"remove", "flip", "keep"})
    flips, arm = action == "flip", known.assign(flipped=action == "flip")
    for end in ("", "_model"):
        chosen, rejected = known[f"chosen{end}"], known[f"rejected{end}"]
        arm[f"chosen{end}"] = chosen.where(~flips, rejected)
        arm[f"rejected{end}"] = rejected.where(~flips, chosen)
    write_pairs(arm[action != "remove"].reset_index(drop=True), tmp_path / "whole.parquet")
    assert (output / "pairs.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_actions_say_which_pair_and_why(store, spec):
    actions = pd.read_parquet(store.output(execute(spec, store)) / "actions.parquet")
    assert actions.to_dict("records") == [
        {"uid": "1", "action": "flip", "why": "mislabelled"},
        {"uid": "7", "action": "flip", "why": "mislabelled"},
    ]


def test_an_edit_keeps_the_id_that_it_had_before_there_were_weights(store, spec):
    plain = {"action": "flip", "recipe": spec.edits[0].recipe.model_dump(), "why": "mislabelled"}
    assert json.loads(spec.edits[0].model_dump_json()) == json.loads(json.dumps(plain))
    judged = spec.model_copy(update={"judge": "refusal"})
    assert store.run_id(type(spec)(**judged.model_dump())) == store.run_id(spec)


def test_a_relabelled_arm_is_judged_and_its_control_flips_as_many(store, spec):
    pairs = read_pairs(spec.pairs).pairs.assign(chosen="Sure, here it is.")
    pairs.loc[pairs["uid"].isin(["2", "8"]), "rejected"] = "I cannot help with that."
    write_pairs(pairs, Path(spec.pairs))
    everything = Contains(column="prompt", phrase="p")
    few = Where(column="uid", values=("2", "3", "8"))
    for recipe, control in ((everything, None), (few, 0)):
        voted = Edit(action="relabel", recipe=recipe, relabel={"prefer": ("refused",)})
        asked = EditSpec(pairs=spec.pairs, edits=(voted,), judge="refusal", control=control)
        summary = json.loads((store.output(execute(asked, store)) / "summary.json").read_text())
        assert summary["n_flipped"] == 2
        assert summary.get("votes", {}).get("flipped", 0) == (2 if control is None else 0)


def test_relabelling_without_a_judge_is_refused(spec):
    voted = Edit(action="relabel", recipe=spec.edits[0].recipe, relabel={"prefer": ("refused",)})
    with pytest.raises(ValueError, match="relabel needs a judge"):
        EditSpec(pairs=spec.pairs, edits=(voted,))


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz", "pairs.parquet", "pairs.csv"])
def test_a_training_that_read_past_weights_is_not_taken_for_one_that_heeds_them(
    store, spec, model_folder, tmp_path, name
):
    pairs = read_pairs(spec.pairs).pairs
    for weight, heeded in ((None, False), (np.nan, False), ("", False), (0.5, True)):
        given = pairs if weight is None else pairs.assign(weight=[weight] * 10)
        if name.endswith("csv"):
            given.to_csv(tmp_path / name, index=False)
        else:
            write_pairs(given.replace("", None), tmp_path / name)
        trained = TrainSpec(reference=str(model_folder), pairs=str(tmp_path / name))
        edited = spec.model_copy(update={"pairs": str(tmp_path / name)})
        for asked in (trained, edited):
            before = {name: store.contents(asked)[name] for name in references(asked)
                      if getattr(asked, name) is not None}  # fmt: skip
            earlier = f"{asked.step}-{identity(asked, before)}"
            assert (store.run_id(asked) != earlier) is heeded


def test_a_training_on_an_edit_of_weighted_pairs_has_one_id_before_and_after_the_edit(
    store, spec, model_folder
):
    write_pairs(read_pairs(spec.pairs).pairs.assign(weight=0.5), Path(spec.pairs))
    trained = TrainSpec(reference=str(model_folder), pairs=store.run_id(spec))
    before = store.run_id(trained)
    edit = execute(spec, store)
    assert store.run_id(trained) == before
    record = store.record(edit)  # as an earlier version wrote it
    del record["contents"]["weights"]
    store.write_record(edit, record)
    assert store.run_id(trained) != before


@pytest.mark.parametrize("weight", [None, 0.5])
def test_converted_pairs_are_edited_and_trained_under_the_id_that_they_were_planned_with(
    store, spec, model_folder, weight
):
    write_pairs(read_pairs(spec.pairs).pairs.assign(weight=weight), Path(spec.pairs))
    convert = ConvertSpec(pairs=spec.pairs)
    pairs = store.run_id(convert)
    planned = [
        TrainSpec(reference=str(model_folder), pairs=pairs),
        spec.model_copy(update={"pairs": pairs}),
    ]
    before = [store.run_id(each) for each in planned]
    execute(convert, store)
    assert [store.run_id(each) for each in planned] == before
