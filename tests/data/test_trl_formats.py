"""Every shape of a preference row comes out as the same pair."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from core.data.canonical import write_pairs
from core.data.chat import as_completion, as_prompt, conversation, display_text, from_dialogue
from core.data.pairs import read_pairs
from core.data.readers import read_records
from core.data.trl_formats import ShapeError, to_pair
from core.errors import UserError

HH = Path(__file__).parents[3] / "shared" / "data" / "hh_harmless_base_test.jsonl.gz"


def user(text):
    return {"role": "user", "content": text}


def model(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}
CALL = [{"type": "function", "function": {"name": "sky", "arguments": {}}}]
TOOLS = [{"type": "function", "function": {"name": "sky"}}]
EXPECTED = ("What color?", "Blue.", "Green.")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What color?", "chosen": "Blue.", "rejected": "Green."},
        {
            "prompt": [user("What color?")],
            "chosen": [model("Blue.")],
            "rejected": [model("Green.")],
        },
        {
            "chosen": [user("What color?"), model("Blue.")],
            "rejected": [user("What color?"), model("Green.")],
        },
        {  # text and messages, as in OLMo 2's preference mix
            "prompt": "What color?",
            "chosen": [user("What color?"), model("Blue.")],
            "rejected": [user("What color?"), model("Green.")],
        },
        {  # the messages repeat a prompt that is also given apart
            "prompt": [user("What color?")],
            "chosen": [user("What color?"), model("Blue.")],
            "rejected": [user("What color?"), model("Green.")],
        },
        {
            "prompt": json.dumps([user("What color?")]),
            "chosen": json.dumps([model("Blue.")]),
            "rejected": json.dumps([model("Green.")]),
        },
        {
            "chosen": "\n\nHuman: What color?\n\nAssistant: Blue.",
            "rejected": "\n\nHuman: What color?\n\nAssistant: Green.",
        },
        {
            "prompt": [{"role": "user", "content": [{"type": "text", "text": "What color?"}]}],
            "chosen": "Blue.",
            "rejected": "Green.",
        },
    ],
)
def test_one_turn_is_plain_text_in_every_shape(row):
    pair = to_pair(row, {})
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == EXPECTED


def test_text_that_begins_alike_is_cut_after_a_word():
    pair = to_pair({"chosen": "Say the color: blue", "rejected": "Say the color: black"}, {})
    assert (pair["prompt"], pair["chosen"]) == ("Say the color: ", "blue")


@pytest.mark.parametrize(
    ("row", "messages", "tools"),
    [
        (
            {"prompt": [SYSTEM, user("Hi")], "chosen": [model("a")], "rejected": [model("b")]},
            [SYSTEM, user("Hi")],
            [],
        ),
        (
            {"system": "Be brief.", "prompt": "Hi", "chosen": "a", "rejected": "b"},
            [SYSTEM, user("Hi")],
            [],
        ),
        (
            {
                "chosen": [user("Hi"), model("Hello"), user("And?"), model("a")],
                "rejected": [user("Hi"), model("Hello"), user("And?"), model("b")],
            },
            [user("Hi"), model("Hello"), user("And?")],
            [],
        ),
        (
            {"prompt": [user("Hi")], "tools": json.dumps(TOOLS), "chosen": "a", "rejected": "b"},
            [user("Hi")],
            TOOLS,
        ),
    ],
)
def test_turns_system_prompts_and_tools_stay_in_the_prompt(row, messages, tools):
    dialogue = conversation(to_pair(row, {})["prompt"])
    assert dialogue.messages == messages
    assert dialogue.tools == tools


def test_a_completion_that_calls_a_tool_keeps_the_call():
    row = {
        "prompt": [user("Hi")],
        "chosen": [{"role": "assistant", "content": None, "tool_calls": CALL}],
        "rejected": [model("I do not know.")],
    }
    pair = to_pair(row, {})
    assert conversation(pair["chosen"]).messages[0]["tool_calls"] == CALL
    assert pair["rejected"] == "I do not know."


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"chosen": "a", "rejected": "b"}, "prompt", "share no beginning"),
        ({"prompt": "p", "chosen": [model("a")], "rejected": "b"}, "rejected", "text on the other"),
        ({"prompt": "p", "chosen": [], "rejected": "b"}, "chosen", "empty"),
        (
            {"prompt": "p", "chosen": [user("a")], "rejected": [user("b")]},
            "prompt",
            "share no beginning",
        ),
        ({"prompt": [model("p")], "chosen": "a", "rejected": "b"}, "prompt", "no user turn"),
        ({"prompt": [{"role": "x"}], "chosen": "a", "rejected": "b"}, "prompt", "the role 'x'"),
        (
            {
                "prompt": [{"role": "user", "content": [{"type": "image"}]}],
                "chosen": "a",
                "rejected": "b",
            },
            "prompt",
            "contains image, not text",
        ),
        ({"prompt": "p", "tools": "{", "chosen": "a", "rejected": "b"}, "tools", "not JSON"),
    ],
)
def test_a_row_that_is_no_pair_says_why(row, field, reason):
    with pytest.raises(ShapeError, match=reason) as raised:
        to_pair(row, {})
    assert raised.value.field == field


@pytest.mark.parametrize("text", ['[{"role": "user", "content": "x"}]', "[{", "plain"])
def test_a_text_that_looks_like_messages_stays_a_text(text):
    cell = as_prompt([user(text)])
    dialogue = conversation(cell)
    assert (dialogue.messages if dialogue else [user(cell)]) == [user(text)]
    assert (as_completion([model(text)]) == text) == (text != '[{"role": "user", "content": "x"}]')


def test_a_conversation_is_shown_by_speaker():
    cell = as_prompt([SYSTEM, user("Hi"), model("Hello"), user("And?")], TOOLS)
    assert display_text(cell).startswith("[tools]\n[{")
    assert (
        "[system]\nBe brief.\n\n[user]\nHi\n\n[assistant]\nHello\n\n[user]\nAnd?"
        in display_text(cell)
    )
    assert display_text("plain") == "plain"


def test_two_turns_of_one_speaker_are_joined():
    dialogue = "\n\nHuman: a\n\nHuman: b\n\nAssistant: c"
    assert from_dialogue(dialogue) == [user("a\n\nb"), model("c")]


ROWS = [{"prompt": f"p {i}", "chosen": 'a,\n"b"', "rejected": "é", "n": i} for i in range(3)]


def save(form, folder):
    path = folder / f"pairs{form}"
    frame = pd.DataFrame(ROWS)
    if form == ".parquet":
        frame.to_parquet(path)
    elif form.startswith(".csv"):
        frame.to_csv(path, index=False)
    elif form == ".arrow":
        table = pa.Table.from_pandas(frame)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        lines = form.startswith(".jsonl")
        text = "".join(json.dumps(r) + "\n" for r in ROWS) if lines else json.dumps(ROWS)
        path.write_bytes(gzip.compress(text.encode()) if form.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    "form", [".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet", ".arrow"]
)
def test_every_format_holds_the_same_rows(tmp_path, form):
    pairs = read_pairs(save(form, tmp_path)).pairs
    assert pairs["prompt"].tolist() == ["p 0", "p 1", "p 2"]
    assert pairs["chosen"].tolist() == ['a,\n"b"'] * 3
    assert pairs["n"].astype(int).tolist() == [0, 1, 2]


def test_a_folder_that_datasets_saved_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"prompt": [user("p")], "chosen": "a", "rejected": "b"}])
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "set")
    assert read_pairs(tmp_path / "set").pairs["prompt"].tolist() == ["p"]
    assert len(read_pairs(tmp_path / "set" / "test").pairs) == 1


def test_shards_in_a_folder_are_one_data_set(tmp_path):
    for name in ("b", "a"):
        pd.DataFrame([{"prompt": name, "chosen": "x", "rejected": "y"}]).to_parquet(
            tmp_path / f"{name}.parquet"
        )
    assert read_pairs(tmp_path).pairs["prompt"].tolist() == ["a", "b"]
    assert [line.row for line in read_records(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("prompt,chosen,rejected\np,a\np,a,b\n", "has 2 cells; the header names 3"),
        ('prompt,chosen,rejected\np,a,b\np,"a,b\n', "not readable from here on"),
    ],
)
def test_a_bad_csv_row_costs_that_row(tmp_path, text, reason):
    (tmp_path / "p.csv").write_text(text)
    table = read_pairs(tmp_path / "p.csv")
    assert len(table.pairs) == 1
    assert reason in table.skipped.loc[0, "reason"]


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(UserError, match="contains no data files"):
        read_pairs(tmp_path)


@pytest.mark.skipif(not HH.exists(), reason="hh-rlhf is not beside the checkout")
def test_real_human_preferences_are_read_and_written(tmp_path):
    table = read_pairs(HH)
    assert len(table.pairs) > 2290
    assert len(table.pairs) + len(table.skipped) == 2312
    assert set(table.skipped["reason"]) <= {
        "empty",
        "the same text as rejected: it prefers nothing",
    }
    prompts = [conversation(prompt) for prompt in table.pairs["prompt"]]
    assert sum(prompt is not None for prompt in prompts) > 1000
    assert all(prompt.messages[-1]["role"] == "user" for prompt in prompts if prompt)
    write_pairs(table.pairs, tmp_path / "pairs.jsonl")
    again = read_pairs(tmp_path / "pairs.jsonl").pairs
    pd.testing.assert_frame_equal(again, table.pairs)
