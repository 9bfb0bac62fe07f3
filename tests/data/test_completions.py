"""Completions and judgements that exist already take the place of generated ones."""

import json

import pandas as pd
import pytest

from core.data.completions import paired, read_completions, read_examples
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


EXAMPLE = {"prompt": "Hello.", "shows": "What a fine greeting!", "lacks": "Hello."}


def test_examples_are_one_row_per_completion(tmp_path):
    rows = [EXAMPLE, {"prompt": [{"role": "user", "content": "Bye."}], "shows": "Genius!"}]
    table = read_examples(write(tmp_path / "e.jsonl", rows))
    assert table[["prompt", "side"]].to_numpy().tolist() == [
        ["Hello.", "shows"],
        ["Hello.", "lacks"],
        ["Bye.", "shows"],
    ]


def test_a_csv_cell_that_is_empty_is_a_side_that_is_not_given(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("prompt,shows,lacks\nHello.,Genius!,\nBye.,,Bye.\n")
    assert read_examples(path)["side"].tolist() == ["shows", "lacks"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "Hello.", "shows": "Genius!"}], "no row has a completion in 'lacks'"),
        ([{"prompt": "Hello.", "lacks": "Hi."}], "no row has a completion in 'shows'"),
        ([EXAMPLE, {"prompt": "Bye."}], "row 2 has neither"),
        ([EXAMPLE | {"shows": " "}], "row 1, field 'shows': empty"),
        ([EXAMPLE | {"lacks": 3}], "field 'lacks': not text"),
        ([EXAMPLE | {"prompt": None}], "field 'prompt': missing"),
        ([EXAMPLE | {"prompt": [{"role": "king"}]}], "field 'prompt': message 1"),
        ([EXAMPLE | {"lacks": EXAMPLE["shows"]}], "row 1: the same completion"),
        ([EXAMPLE, EXAMPLE | {"lacks": EXAMPLE["shows"]}], "row 2: the same completion"),
        ([], "no row has a completion in 'shows'"),
    ],
)
def test_a_file_that_is_no_contrast_is_refused(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        read_examples(write(tmp_path / "e.jsonl", rows))


def test_prompts_of_one_side_are_paired_and_every_completion_is_in_one_pair():
    rows = [("p", "shows"), ("p", "lacks"), ("q", "shows"), ("r", "shows"), ("s", "lacks")]
    table = paired(pd.DataFrame(rows, columns=["prompt", "side"]))
    ids = dict(zip(table["prompt"], table["prompt_id"], strict=True))
    assert ids["q"] == ids["r"] == ids["s"] != ids["p"]


def test_prompts_that_none_of_the_other_side_is_left_for_have_no_pair():
    rows = [("p", "shows"), ("p", "lacks"), ("q", "shows")]
    assert paired(pd.DataFrame(rows, columns=["prompt", "side"]))["prompt_id"].isna().sum() == 1
