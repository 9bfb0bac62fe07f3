"""Judges tried on completions at hand; how they are printed is in tests/cli/test_judge.py."""

import json

import pandas as pd
import pytest

from core.errors import UserError
from core.intervention.evaluation.judge_preview import (
    is_instant,
    labels_within,
    preview,
    read_judged_texts,
    ready_flags,
    ready_judge,
    ready_sets_of,
    texts_of_pairs,
)
from core.intervention.evaluation.judges import load_judge


def test_a_judge_of_every_ready_set_gives_each_flag_and_is_recognised(tmp_path):
    sets = list(ready_flags())
    path = tmp_path / "judge.toml"
    path.write_text(ready_judge(sets))
    assert set(load_judge(str(path)).flags) == {*ready_flags().values(), "complied"}
    assert ready_sets_of(str(path)) == sets
    assert ready_sets_of("refusal") == ["refusal"]
    path.write_text(path.read_text() + "[rules.short]\nwords = {at_most = 5}\n")
    assert ready_sets_of(str(path)) is None


def test_the_texts_of_pairs_are_judged_side_by_side():
    rows = [("Q", "I cannot help with that.", "Sure."), ("R", "I won't.", "I can't.")]
    pairs = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"])
    result = preview({"refusal": load_judge("refusal")}, texts_of_pairs(pairs))
    refused = result.rates[result.rates["flag"] == "refused"].set_index("model")
    assert refused["rate"].to_dict() == {"chosen": 1.0, "rejected": 0.5}


def test_labels_of_the_completions_own_file_are_compared(tmp_path):
    path = tmp_path / "completions.jsonl"
    rows = [("I cannot help.", "yes"), ("Sure.", "yes"), ("I won't do it.", "yes"), ("Yes.", "no")]
    lines = [{"completion": text, "refused": label} for text, label in rows]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    labels = labels_within(path, ["refused", "complied"])
    table = read_judged_texts(str(path), None)
    (row,) = preview({"refusal": load_judge("refusal")}, table, labels).labels.to_dict("records")
    assert (row["flag"], row["n"], row["only_person"], row["only_judge"]) == ("refused", 4, 1, 0)
    assert row["kappa"] == pytest.approx(0.5)
    assert labels_within(path, ["flattered"]) is None


def test_a_label_that_is_neither_yes_nor_no_is_named(tmp_path):
    path = tmp_path / "completions.jsonl"
    path.write_text('{"completion": "Sure.", "refused": "perhaps"}\n')
    with pytest.raises(UserError, match="row 1, field 'refused': 'perhaps' is neither"):
        labels_within(path, ["refused"])


def test_a_judge_that_asks_a_model_is_not_instant(tmp_path):
    path = tmp_path / "judge.toml"
    path.write_text(
        '[endpoint]\nmodel = "m"\nurl = "https://host.example/v1"\n'
        '[flags.harmful]\ninstruction = "harmful"\n[patterns.refused]\nset = "refusal"\n'
    )
    assert not is_instant(load_judge(str(path)))
    assert is_instant(load_judge("refusal"))
