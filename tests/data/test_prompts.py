"""Prompts and what is sent under a condition."""

import json

import pytest

from core.data.prompts import expand, read_prompts
from core.errors import UserError

PROMPT = {"prompt_id": "1", "group": "g", "topic": "t", "prompt": "Do it.", "distractor": None}


def write(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_prompt_without_distractor_is_sent_plain_only(tmp_path):
    other = PROMPT | {"prompt_id": "2", "distractor": "In ten words."}
    sent = expand(read_prompts(write(tmp_path / "prompts.jsonl", PROMPT, other)))
    assert list(zip(sent["prompt_id"], sent["condition"], sent["prompt"], strict=True)) == [
        ("1", "plain", "Do it."),
        ("2", "plain", "Do it."),
        ("2", "distractor", "Do it. In ten words."),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (PROMPT, "row 2, field 'prompt_id': '1' is taken"),
        (PROMPT | {"prompt_id": "2", "prompt": ""}, "row 2, field 'prompt' is '', not text"),
        ({"prompt_id": "2", "prompt": "x", "topic": "t"}, "row 2, field 'group' is missing"),
        (PROMPT | {"prompt_id": "2", "distractor": 3}, "field 'distractor' is 3, not text"),
        ([], "row 2: a list, not an object"),
    ],
)
def test_a_bad_prompt_is_refused_with_its_row_and_field(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read_prompts(write(tmp_path / "prompts.jsonl", PROMPT, row))


def test_a_distractor_that_python_wrote_as_nan_is_none(tmp_path):
    path = write(tmp_path / "prompts.jsonl", PROMPT | {"distractor": float("nan")})
    assert "NaN" in path.read_text()
    assert expand(read_prompts(path))["condition"].tolist() == ["plain"]


def test_a_file_without_prompts_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no prompts"):
        read_prompts(write(tmp_path / "prompts.jsonl"))
