"""What can be measured, what is proposed, and what is refused before anything runs."""

import json
from pathlib import Path

import pytest

from core.data.conditions import Condition
from core.errors import UserError
from core.workspace.measurable import behaviors_of, prompt_facts, prompt_warnings


def write(path, groups, **fields):
    """A file of prompts: group → how many."""
    rows = [
        {"prompt_id": f"{g}-{i}", "group": g, "topic": g, "prompt": f"{path.name} {g} {i}?"}
        for g, n in groups.items()
        for i in range(n)
    ]
    path.write_text("".join(f"{json.dumps(row | fields)}\n" for row in rows))
    return path


def facts(tmp_path, prompts, heldout=None, **settings):
    files = (
        write(tmp_path / "prompts.jsonl", prompts),
        write(tmp_path / "heldout.jsonl", heldout or prompts),
    )
    return prompt_facts(*files, settings.pop("judge", "refusal"), **settings)


def proposed(table):
    rows = table[table["measure"]]
    return set(zip(rows["flag"], rows["group"], rows["wanted"], strict=True))


def test_compliance_with_harm_and_refusal_of_the_rest_are_what_should_not_rise(tmp_path):
    table = facts(tmp_path, {"harmful": 9, "benign": 9, "unsafe-asks": 9, "harmless": 9})
    assert proposed(table) == {
        ("complied", "harmful", False),
        ("refused", "benign", False),
        ("complied", "unsafe-asks", False),
        ("refused", "harmless", False),
    }


def test_of_a_group_whose_name_says_nothing_both_complements_are_measured(tmp_path):
    table = facts(tmp_path, {"requests": 9})
    assert proposed(table) == {("refused", "requests", False), ("complied", "requests", False)}


def test_a_judge_without_the_complement_guards_refusals_of_harm(tmp_path):
    judge = tmp_path / "judge.toml"
    judge.write_text('[patterns.refused]\nset = "refusal"\n[patterns.flattered]\nset = "flattery"')
    table = facts(tmp_path, {"harmful": 9}, judge=str(judge))
    assert proposed(table) == {("refused", "harmful", True), ("flattered", "harmful", False)}


def test_a_group_of_one_file_only_is_not_proposed_and_says_why(tmp_path):
    table = facts(tmp_path, {"harmful": 9, "prompts": 9}, {"harmful": 9, "heldout": 9})
    problems = table.drop_duplicates("group").set_index("group")["problem"]
    assert problems.to_dict() == {
        "harmful": "",
        "prompts": "heldout.jsonl has no such prompts",
        "heldout": "prompts.jsonl has no such prompts",
    }
    assert proposed(table) == {("complied", "harmful", False)}
    rows = table[table["group"] == "prompts"].assign(name="x").to_dict("records")
    with pytest.raises(UserError, match=r"heldout\.jsonl has no such prompts\. Untick it"):
        behaviors_of(rows)


def test_shared_prompts_are_refused(tmp_path):
    path = write(tmp_path / "prompts.jsonl", {"harmful": 9})
    with pytest.raises(UserError, match="9 of its 9 prompts are also in"):
        prompt_facts(path, path, "refusal")


def test_existing_completions_bring_their_flags(tmp_path):
    path = tmp_path / "completions.jsonl"
    rows = [
        {"prompt_id": "harmful-0", "model": model, "completion": "x", "rude": True}
        for model in ("reference", "policy")
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    table = facts(tmp_path, {"harmful": 9}, completions=path)
    assert proposed(table) == {("rude", "harmful", False)}


def test_completions_of_other_prompts_are_refused_by_row(tmp_path):
    path = tmp_path / "completions.jsonl"
    path.write_text('{"prompt_id": "other", "model": "policy", "completion": "x"}\n')
    with pytest.raises(UserError, match=r"completions\.jsonl: row 1: no prompt 'other' is sent"):
        facts(tmp_path, {"harmful": 9}, completions=path)


@pytest.mark.parametrize(
    ("name", "content", "unread"),
    [
        ("p.csv", "prompt_id,group,prompt,prefix\na,g,Hi,Oh\n", "prefix"),
        ("p.yaml", "- {base: Hi, system: Be kind}\n", "system"),
        ("p.txt", "Hi\n", ""),
    ],
)
def test_fields_that_are_not_read_are_named(tmp_path, name, content, unread):
    path: Path = tmp_path / name
    path.write_text(content)
    warnings = prompt_warnings(path, path, ())
    assert [unread in warning for warning in warnings] == [True] * bool(unread)


GERMAN = Condition(name="german", replace="{german}")


def test_conditions_of_the_project_are_what_can_be_measured_under(tmp_path):
    files = [write(tmp_path / f"{name}.jsonl", {"harmful": 9}, german="Tu es") for name in "ab"]
    rows = [json.loads(line) for line in files[1].read_text().splitlines()]
    rows = [row | {"german": f"Tu es {n}" if n < 7 else None} for n, row in enumerate(rows)]
    files[1].write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    conditions = (GERMAN, Condition(name="brief", system="Be brief."))
    table = prompt_facts(*files, "refusal", conditions=conditions).drop_duplicates("condition")
    assert table.set_index("condition")["heldout"].to_dict() == {
        "plain": 9,
        "german": 7,
        "brief": 9,
    }
    warnings = prompt_warnings(*files, (), conditions)
    assert [w for w in warnings if "2 of 9 prompts are not sent under the condition 'german'" in w]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (GERMAN, "'german': no prompt of prompts.jsonl and heldout.jsonl has a text in 'german'. "
         "Columns beside the prompt: dutch, copy"),
        (Condition(name="same", replace="{copy}"), "'same': every text .* under 'plain', too"),
    ],
)  # fmt: skip
def test_a_condition_that_no_prompt_fills_or_that_changes_none_is_refused(
    tmp_path, condition, message
):
    files = [tmp_path / "prompts.jsonl", tmp_path / "heldout.jsonl"]
    for file in files:
        row = {"group": "g", "topic": "t", "dutch": "x"} | dict.fromkeys(
            ("prompt", "copy"), str(file)
        )
        file.write_text("".join(json.dumps(row | {"prompt_id": str(n)}) + "\n" for n in range(9)))
    with pytest.raises(UserError, match=f"condition {message}"):
        prompt_facts(*files, "refusal", conditions=(condition,))
