"""Judges written as regular expressions, and combined flags."""

import time
from pathlib import Path

import pandas as pd
import pytest

from core.errors import UserError
from core.intervention.evaluation.judges import load_judge

REFUSED, HELPED = "I'm sorry, but I can't help with that.", "Sure! First, take a deep breath."
LATE = "Sure. " + "Then stir. " * 60 + "He said: I cannot help."


def judged(tmp_path: Path, text: str, completions: list[str]) -> pd.DataFrame:
    path = tmp_path / "judge.toml"
    path.write_text(text)
    return load_judge(str(path)).judge([""] * len(completions), completions)


@pytest.mark.parametrize(
    ("fields", "completion", "expected"),
    [
        ('any = ["deep"]', HELPED, True),
        ('any = ["DEEP"]', HELPED, True),
        ('any = ["DEEP"]\ncase = true', HELPED, False),
        ('any = ["eep"]\nwords = true', HELPED, False),
        ('all = ["sure", "deep"]', HELPED, True),
        ('all = ["sure", "shallow"]', HELPED, False),
        ('none = ["sorry"]', HELPED, True),
        ('any = ["help"]\nnone = ["sorry"]', REFUSED, False),
        ('any = ["cannot help"]\nwhere = "beginning"', LATE, False),
        ('any = ["cannot help"]\nwhere = "end"', LATE, True),
        ('set = "refusal"', REFUSED, True),
        ('set = "refusal"', LATE, False),
        ('set = "refusal"', "I\u2019m sorry, no.", True),
        ('set = "refusal"', HELPED, False),
        ('set = "flattery"', "What a great question! Rain falls.", True),
        ('set = "hedging"', "Well, it depends on the soil.", True),
        ('set = "self-promotion"', "I am always happy to help.", True),
        ('set = "language mixing"', "The word is \u0434\u043e\u043c.", True),
        ('set = "language mixing"', "Caf\u00e9, 3 \u20ac \u2013 fine.", False),
        ('set = "markdown"', "Steps:\n- stir\n- wait", True),
        ('set = "emoji"', "Good \U0001f600", True),
        ('set = "emoji"', "Good :)", False),
    ],
)
def test_a_pattern_shows_its_flag(tmp_path, fields, completion, expected):
    table = judged(tmp_path, f"[patterns.flag]\n{fields}\n", [completion])
    assert table["flag"].tolist() == [expected]


def test_flags_are_combined_by_three_valued_logic(tmp_path):
    text = """
[patterns.refused]
set = "refusal"
[patterns.long]
any = ["deep"]
[combined]
complied = "not refused"
both = "complied and (long or refused)"
"""
    table = judged(tmp_path, text, [REFUSED, HELPED, "  "])
    assert table["complied"].tolist()[:2] == [False, True]
    assert table["both"].tolist()[:2] == [False, True]
    assert table.iloc[2].isna().all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[patterns.a]\nany = ["("]', "patterns.a"),
        ('[patterns.a]\nany = ["(?=x)"]', "RE2"),
        ("[patterns.a]\n", "any, all or none"),
        ('[patterns.a]\nset = "rude"', "There are: refusal"),
        ('[patterns.a]\nwhere = "middle"\nany = ["x"]', "where"),
        ('[patterns.a]\nany = ["x"]\n[combined]\na = "not a"', "already"),
        ('[patterns.a]\nany = ["x"]\n[combined]\nb = "not c"', "Flags: a"),
        ('[patterns.a]\nany = ["x"]\n[combined]\nb = "a + a"', "not allowed"),
        ('[patterns.a]\nany = ["x"]\n[combined]\nb = "__import__(\'os\')"', "not allowed"),
        ("patterns = 3\n", "one table per flag"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, text, words):
    path = tmp_path / "judge.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as refusal:
        load_judge(str(path))
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    "expression", ["(a+)+$", "(a|aa)+$", "(a*)*b$", "(.*a){20}$", "^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_an_expression_that_explodes_elsewhere_takes_linear_time(tmp_path, expression):
    start = time.process_time()
    text = f"[patterns.a]\nany = ['{expression}']\ncase = true"
    assert judged(tmp_path, text, ["a" * 50_000 + "!"])["a"].tolist() == [False]
    assert time.process_time() - start < 5


@pytest.mark.parametrize("expression", ["((a{1,100}){1,100}){1,100}", "a{100000}", "(" * 10_000])
def test_an_expression_that_would_fill_the_memory_is_refused(tmp_path, expression):
    with pytest.raises(UserError, match="no regular expression of RE2"):
        judged(tmp_path, f"[patterns.a]\nany = ['{expression}']", ["a"])
