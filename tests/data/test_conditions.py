"""What is sent under a condition, and conditions that are refused."""

import json
import re

import pytest
from pydantic import ValidationError

from core.data.chat import conversation
from core.data.conditions import (
    CONDITIONS,
    Condition,
    as_row,
    expand,
    from_rows,
    in_words,
    named_apart,
    read_sent,
)
from core.data.prompts import read_prompts
from core.errors import UserError, first_problem

PROMPT = {"prompt_id": "1", "group": "g", "topic": "t", "prompt": "Do it.", "german": "Tu es."}
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


def write(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def texts(tmp_path, condition, *rows):
    """What is sent of some prompts under a condition, beside their plain texts."""
    sent = read_sent(write(tmp_path / "prompts.jsonl", *rows), [Condition(**condition)])
    return sent.loc[sent["condition"].eq(condition["name"]), "prompt"].tolist()


def test_a_prompt_without_distractor_is_sent_plain_only(tmp_path):
    other = PROMPT | {"prompt_id": "2", "distractor": "In ten words."}
    sent = read_sent(write(tmp_path / "prompts.jsonl", PROMPT, other))
    assert list(zip(sent["prompt_id"], sent["condition"], sent["prompt"], strict=True)) == [
        ("1", "plain", "Do it."),
        ("2", "plain", "Do it."),
        ("2", "distractor", "Do it. In ten words."),
    ]


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        ({"suffix": "Now."}, "Do it. Now."),
        ({"suffix": "\nNow."}, "Do it.\nNow."),
        ({"prefix": "Please:"}, "Please: Do it."),
        ({"prefix": "{topic}\n", "suffix": "({group})"}, "t\nDo it. (g)"),
        ({"replace": "{german}"}, "Tu es."),
        ({"replace": "{german}", "suffix": "Jetzt."}, "Tu es. Jetzt."),
        ({"suffix": '{"a": {{german}}}'}, 'Do it. {"a": {german}}'),
    ],
)
def test_a_condition_changes_the_text_of_a_plain_prompt(tmp_path, change, sent):
    assert texts(tmp_path, {"name": "c", **change}, PROMPT) == [sent]


@pytest.mark.parametrize(
    ("change", "roles"),
    [
        ({"system": "Be brief."}, ["system", "user"]),
        ({"turns": HELLO}, ["user", "assistant", "user"]),
        ({"turns": "{before}"}, ["user", "assistant", "user"]),
        ({"system": "{german}", "turns": HELLO}, ["system", "user", "assistant", "user"]),
    ],
)
def test_a_condition_adds_turns_to_a_plain_prompt(tmp_path, change, roles):
    (sent,) = texts(tmp_path, {"name": "c", **change}, PROMPT | {"before": HELLO})
    messages = conversation(sent).messages
    assert [m["role"] for m in messages] == roles
    assert messages[-1]["content"] == "Do it."


def test_a_system_prompt_takes_the_place_of_the_prompts_own(tmp_path):
    row = PROMPT | {"prompt": [SYSTEM, *HELLO, {"role": "user", "content": "Do it."}]}
    (sent,) = texts(tmp_path, {"name": "c", "system": "Be loud.", "suffix": "Now."}, row)
    first, *_, last = conversation(sent).messages
    assert (first["content"], last["content"]) == ("Be loud.", "Do it. Now.")
    assert sum(m["role"] == "system" for m in conversation(sent).messages) == 1


def test_a_prompt_that_lacks_the_column_is_not_sent(tmp_path):
    others = [PROMPT | {"prompt_id": str(n), "german": cell} for n, cell in ((2, None), (3, ""))]
    assert texts(tmp_path, {"name": "c", "replace": "{german}"}, PROMPT, *others) == ["Tu es."]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (3, "row 1, field 'before' is 3, not text"),
        ([{"role": "robot"}], "row 1, field 'before': message 1 has the role 'robot'"),
        (HELLO[:1], "prompt '1', condition 'c': earlier turns go user, assistant"),
    ],
)
def test_a_cell_that_makes_no_turns_is_refused_by_file(tmp_path, cell, message):
    with pytest.raises(UserError, match=rf"prompts\.jsonl: {message}"):
        texts(tmp_path, {"name": "c", "turns": "{before}"}, PROMPT | {"before": cell})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "c" * 200, "suffix": "x"}, "name: 'ccc.*1 to 40 letters"),
        ({"name": "<b>c</b>", "suffix": "x"}, "name: '<b>c</b>' is not a name"),
        ({"name": "", "suffix": "x"}, "name: '' is not a name"),
        ({"name": "plain", "suffix": "x"}, "name: 'plain' exists always"),
        ({"name": "c"}, "condition 'c' changes nothing. Give it one of replace, prefix"),
        ({"name": "c", "suffix": " "}, "suffix: is empty"),
        ({"name": "c", "replace": "Please: {prompt}"}, "replace: '{prompt}' is there already"),
        ({"name": "c", "turns": "Hello"}, "turns.*neither a list of messages nor one"),
        ({"name": "c", "turns": HELLO[:1]}, "these are user"),
        ({"name": "c", "turns": []}, "these are none"),
        ({"name": "c", "sufix": "x"}, "sufix: Extra inputs are not permitted"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(change, message):
    with pytest.raises(ValidationError) as error:
        Condition(**change)
    assert re.search(message, first_problem(error.value))


def test_two_conditions_of_one_name_are_refused():
    twice = Condition(name="c", suffix="x"), Condition(name="c", suffix="y")
    with pytest.raises(ValueError, match="two conditions are called 'c'"):
        named_apart(twice)


def test_a_condition_is_described_in_words():
    conditions = [*CONDITIONS, Condition(name="c", replace="{german}", system="Be brief.")]
    assert [in_words(name, conditions) for name in ("plain", "distractor", "c", "other")] == [
        "the prompt as it is",
        "the prompt, then its distractor",
        "its german, with “Be brief.” as system prompt",
        "",
    ]


def test_a_record_names_only_what_it_changes():
    assert CONDITIONS[0].model_dump() == {"name": "distractor", "suffix": "{distractor}"}


def test_a_distractor_that_python_wrote_as_nan_is_none(tmp_path):
    path = write(tmp_path / "prompts.jsonl", PROMPT | {"distractor": float("nan")})
    assert "NaN" in path.read_text()
    assert expand(read_prompts(path))["condition"].tolist() == ["plain"]


def test_a_distractor_joins_the_last_turn_of_a_conversation(tmp_path):
    turns = [SYSTEM, {"role": "user", "content": "Do it."}]
    row = PROMPT | {"prompt": turns, "distractor": "In ten words."}
    sent = read_sent(write(tmp_path / "p.jsonl", row))
    last = conversation(sent["prompt"].iloc[1]).messages[-1]
    assert last["content"] == "Do it. In ten words."


def test_rows_of_a_table_become_conditions_and_keep_what_the_table_has_no_cell_for():
    earlier = [Condition(name="c", suffix="x", turns=HELLO, description="greeted")]
    rows = [{"name": "c", "suffix": None, "system": "Be brief."}, {"name": None, "suffix": ""}]
    (condition,) = from_rows(rows, earlier)
    assert condition.model_dump() == {"name": "c", "description": "greeted", "system": "Be brief."}


@pytest.mark.parametrize(
    "turns",
    [
        HELLO,
        "{dialogue}",
        [{"role": "user", "content": "Two\nlines"}, HELLO[1]],
        [{"role": "user", "content": "One\nuser: none\n"}, HELLO[1]],
    ],
)
def test_a_condition_survives_the_table(turns):
    condition = Condition(name="c", turns=turns)
    assert from_rows([as_row(condition)], [condition]) == (condition,)


def test_lines_of_a_cell_become_earlier_turns():
    cell = "user: Hello\nthere: you\nAssistant:  Hi\n"
    (condition,) = from_rows([{"name": "c", "turns": cell}])
    turns = [{"role": "user", "content": "Hello\nthere: you"}, HELLO[1]]
    assert condition.model_dump(mode="json")["turns"] == turns


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"name": "c", "suffix": "x"}, {"name": "d"}], "condition 2: .*'d' changes nothing"),
        ([{"suffix": "x"}], "condition 1: name: '' is not a name"),
        ([{"name": "c", "turns": "Hello"}], "condition 1: turns.*write a line per turn"),
        ([{"name": "c", "turns": "user: Hello"}], "end with the assistant's; these are user"),
        ([{"name": "c", "suffix": "x"}] * 2, "two conditions are called 'c'"),
    ],
)
def test_a_row_that_is_no_condition_is_refused_by_number(rows, message):
    with pytest.raises(UserError, match=message):
        from_rows(rows)
