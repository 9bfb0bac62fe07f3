"""Prompts from files of every format."""

import json

import pytest

from core.data.chat import conversation
from core.data.prompts import (
    append_distractors,
    read_prompts,
    split,
    text_columns,
    write_prompts,
)
from core.errors import UserError

PROMPT = {"prompt_id": "1", "group": "g", "topic": "t", "prompt": "Do it.", "distractor": None}


def write(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


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


def test_a_file_without_prompts_is_refused(tmp_path):
    with pytest.raises(UserError, match="contains no prompts"):
        read_prompts(write(tmp_path / "prompts.jsonl"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "- {id: a, base: Do it., distractor: In ten words., group: g, topic: t}\n"),
        ("p.yml", "a: {base: Do it., distractor: [In ten words.], group: g, topic: t}\n"),
        (
            "p.yaml",
            "scenarios:\n  a: {base: Do it., distractor: In ten words., group: g, topic: t}",
        ),
        ("p.csv", "prompt_id,group,topic,prompt,distractor\na,g,t,Do it.,In ten words.\n"),
        ("p.json", json.dumps([PROMPT | {"prompt_id": "a", "distractor": "In ten words."}])),
    ],
)
def test_every_format_holds_the_same_prompt(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    row = read_prompts(tmp_path / name).iloc[0]
    assert row.tolist() == ["a", "g", "t", "Do it.", "In ten words."]


def test_a_text_file_is_one_prompt_per_line(tmp_path):
    (tmp_path / "p.txt").write_text("One.\n\nTwo.\n")
    prompts = read_prompts(tmp_path / "p.txt")
    assert prompts["prompt"].tolist() == ["One.", "Two."]
    assert prompts["prompt_id"].tolist() == ["line-1", "line-3"]


def test_a_scenario_with_several_distractors_is_several_prompts(tmp_path):
    (tmp_path / "p.yaml").write_text("- {base: Do it., distractor: [x, y]}\n")
    prompts = read_prompts(tmp_path / "p.yaml")
    assert prompts[["prompt_id", "distractor"]].to_numpy().tolist() == [
        ["scenario-1-1", "x"],
        ["scenario-1-2", "y"],
    ]


@pytest.mark.parametrize(
    "text", ["a: [", "just text", "- 3", "- {distractor: x}", "!!python/object/apply:os.system [x]"]
)
def test_a_bad_scenario_file_is_refused(tmp_path, text):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=r"p\.yaml"):
        read_prompts(tmp_path / "p.yaml")


def test_prompts_are_crossed_with_distractors_and_split_without_overlap(tmp_path):
    (tmp_path / "p.txt").write_text("\n".join(f"Prompt {i}." for i in range(10)))
    crossed = append_distractors(read_prompts(tmp_path / "p.txt"), ["x", "y"])
    built, measured = split(crossed, 0.3)
    assert (len(built), len(measured)) == (14, 6)
    assert not set(built["prompt"]) & set(measured["prompt"])
    write_prompts(built, tmp_path / "out.jsonl")
    assert read_prompts(tmp_path / "out.jsonl").equals(built)


def test_columns_of_text_stay_when_prompts_are_split(tmp_path):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    row = PROMPT | {"german": "Tu es.", "before": turns, "difficulty": 3}
    path = write(tmp_path / "p.jsonl", row, PROMPT | {"prompt_id": "2", "prompt": "Do that."})
    assert text_columns(path) == ["german", "before"]
    write_prompts(read_prompts(path, ["german", "before"]), tmp_path / "out.jsonl")
    again = read_prompts(tmp_path / "out.jsonl", ["german", "before"])
    assert again["german"].isna().tolist() == [False, True]
    assert conversation(again["before"][0]).messages == turns
