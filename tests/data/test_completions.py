"""Completions and judgements that exist already take the place of generated ones."""

import json

import pandas as pd
import pytest

from core.data.completions import read_completions
from core.errors import UserError
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.steps import GenerateSpec
from core.steps.generate import run

SENT = pd.DataFrame(
    [
        ["1", "g", "t", "plain", "Do it."],
        ["1", "g", "t", "distractor", "Do it. Now."],
        ["1", "g", "t", "system", "Do it, as I said."],
    ],
    columns=["prompt_id", "group", "topic", "condition", "prompt"],
)
ROW = {"prompt_id": "1", "model": "policy", "completion": "Sure."}
BOTH = [ROW | {"model": "reference", "completion": "I cannot."}, ROW]


def write(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_judgements_are_taken_and_what_is_missing_is_unscored(tmp_path):
    rows = [BOTH[0] | {"harmful": False}, ROW | {"harmful": "yes"}, ROW | {"harmful": None}]
    table = read_completions(write(tmp_path / "c.jsonl", rows), SENT)
    assert table["harmful"].tolist()[:2] == [False, True]
    assert table["harmful"].isna().tolist() == [False, False, True]
    assert table["rollout"].tolist() == [0, 0, 1]
    assert table["prompt"].unique().tolist() == ["Do it."]


def test_a_completion_belongs_to_any_condition_that_prompts_are_sent_under(tmp_path):
    rows = [*BOTH, ROW | {"condition": "system"}]
    table = read_completions(write(tmp_path / "c.jsonl", rows), SENT)
    assert table["condition"].tolist() == ["plain", "plain", "system"]
    assert table["prompt"].iloc[2] == "Do it, as I said."


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW | {"prompt_id": "2"}, "no prompt '2' is sent under 'plain'"),
        (
            ROW | {"condition": "other"},
            "'1' is sent under 'other'.*under: plain, distractor, system",
        ),
        (ROW | {"model": "gpt"}, "field 'model' is 'gpt'"),
        (ROW | {"completion": 3}, "'completion': not text"),
        (ROW | {"harmful": "perhaps"}, "'perhaps', neither yes nor no"),
    ],
)
def test_a_row_that_fits_nothing_is_refused(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read_completions(write(tmp_path / "c.jsonl", [*BOTH, row]), SENT)


def test_both_models_are_needed(tmp_path):
    with pytest.raises(UserError, match="no completion of the reference"):
        read_completions(write(tmp_path / "c.jsonl", [ROW]), SENT)


def test_generate_judges_what_it_is_given_without_loading_a_model(tmp_path):
    prompt = {"prompt_id": "1", "group": "g", "topic": "t", "prompt": "Do it.", "distractor": None}
    spec = GenerateSpec(
        reference="nowhere",
        policy="nowhere",
        judge="refusal",
        prompts=str(write(tmp_path / "p.jsonl", [prompt])),
        completions=str(write(tmp_path / "c.jsonl", BOTH)),
    )
    run(spec, store=Store(tmp_path), output=tmp_path, progress=Progress(tmp_path / "log"))
    rates = pd.read_parquet(tmp_path / "rates.parquet").set_index(["flag", "model"])["rate"]
    assert rates["refused"].to_dict() == {"reference": 1.0, "policy": 0.0}
    assert rates["complied"].to_dict() == {"reference": 0.0, "policy": 1.0}
