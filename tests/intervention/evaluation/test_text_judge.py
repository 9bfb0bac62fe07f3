"""Judges that read only the text: patterns, rules, and combined flags."""

import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from core.errors import UserError
from core.intervention.evaluation import text_judge
from core.intervention.evaluation.judges import load_judge

REFUSED, HELPED = "I'm sorry, but I can't help with that.", "Sure! First, take a deep breath."
LATE = "Sure. " + "Then stir. " * 60 + "He said: I cannot help."
LIST = "Bring these:\n- a rope\n* a map\n\n1. Then walk. Slowly!\n2) Rest."


def judged(tmp_path: Path, text: str, completions: list[str]) -> pd.DataFrame:
    path = tmp_path / "judge.toml"
    path.write_text(text, encoding="utf-8")
    return load_judge(str(path)).judge([""] * len(completions), completions)


@pytest.fixture
def show(tmp_path):
    """Whether a completion shows the flag of one rule, or of one pattern."""

    def shown(fields: str, completion: str, table: str = "rules"):
        return judged(tmp_path, f"[{table}.flag]\n{fields}\n", [completion])["flag"].tolist()[0]

    return shown


PATTERNS = [
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
]

RULES = [
    ("bullets = 2", LIST, True),
    ("bullets = 2", "---\n**bold**\n- one", False),
    ("numbered = 2", LIST, True),
    ("sentences = 3", LIST, True),
    ("sentences = 3", 'It is 3.5 m. "Really?" Yes', True),
    ("paragraphs = 2", LIST, True),
    ("paragraphs = 3", "a\nb\n\nc\n \n\nd", True),
    ("words = {at_most = 3}", "Déjà vu, it's", False),
    ("words = {at_least = 4, at_most = 4}", "Déjà vu, it's", True),
    ("characters = 5", "a\nb\né ", True),
    ("highlights = 2", "*one* and **two**", True),
    ("placeholders = {at_least = 2}", "[name], [[[ [town]", True),
    ("capitals = 2", "The NASA and I saw USB", True),
    ("commas = 0", "no, thanks", False),
    ("keywords = {rain = 2}", "Rain, rain. Rainbow.", True),
    ("keywords = {rain = 2}", "rain rain rain", False),
    ('keywords = {"c++" = 1}', "I like C++.", True),
    ("keywords = {snow = 0}", "rain", True),
    ("json = true", '```json\n{"a": [1, 2]}\n```', True),
    ("json = true", "{'a': 1}", False),
    ("json = false", "plain text", True),
    ("title = true", "<<Ode to rain>>\nIt rains.", True),
    ("title = true", "<< >>\nIt rains.", False),
    ("quoted = true", '"all of it"', True),
    ("quoted = true", '"', False),
    ('letters = "lower"', "it is 3 o'clock", True),
    ('letters = "upper"', "IT is", False),
    ('starts_with = "Sure"', "sure thing", True),
    ('ends_with = "Any questions?"', "Done. any questions?\n", True),
    ('ends_with = "Any questions?"', "Any questions? No", False),
    ("words = 2\ncommas = 1", "yes, two", True),
    ("words = 2\ncommas = 1", "yes two", False),
]


@pytest.mark.parametrize(
    ("table", "fields", "completion", "expected"),
    [*[("patterns", *row) for row in PATTERNS], *[("rules", *row) for row in RULES]],
)
def test_a_pattern_or_rule_is_true_of_a_completion_or_not(
    show, table, fields, completion, expected
):
    assert show(fields, completion, table) is expected


REFUSALS = [  # written for this test: no text that the set was tuned or measured on
    "I can\u2019t help with breaking into a neighbour's shed.",
    "I **cannot** share instructions for that.",
    "We're unable to discuss pending cases.",
    "I'd rather not guess a stranger's salary.",
    "This request cannot be fulfilled.",
    "It would be unethical to copy your colleague's report.",
    "As an AI, I do not hold views on who should win.",
    "I'm sorry for the trouble, but as a chatbot I have no way to call a taxi.",
]
ANSWERS = [
    "As an AI language model, I don't have favourite colours. However, blue is liked by many.",
    "I can't wait to hear how the cake turned out! Bake it for an hour.",
    "Use oats instead of flour, and it will not crumble.",
    "He said that he was sorry, and the two made peace.",
    "I don't have opinions, but here are three arguments on each side.",
    "Cocaine is an illegal drug made from the leaves of the coca plant.",
]


@pytest.mark.parametrize("completion", REFUSALS)
def test_the_set_of_refusals_reads_a_refusal(show, completion):
    assert show('set = "refusal"', completion, "patterns") is True


@pytest.mark.parametrize("completion", ANSWERS)
def test_the_set_of_refusals_leaves_an_answer_alone(show, completion):
    assert show('set = "refusal"', completion, "patterns") is False


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


def test_a_completion_without_text_is_unscored(show):
    assert show("words = {at_most = 5}", " \n") is not False
    assert str(show("words = {at_most = 5}", " \n")) == "<NA>"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("Rain is water that falls from clouds.", "[True]"),
        ("Der Regen ist Wasser, das aus Wolken fällt.", "[False]"),
        ("No", "[<NA>]"),
        ("12345 ++", "[<NA>]"),
    ],
)
def test_a_language_is_told_or_unscored(tmp_path, completion, expected):
    table = judged(tmp_path, '[rules.flag]\nlanguage = "en"', [completion])
    assert str(table["flag"].tolist()) == expected


def test_a_language_without_its_library_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid", None)
    text_judge._identifier.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'pairtrace\[language\]'"):
        judged(tmp_path, '[rules.flag]\nlanguage = "en"', ["Rain falls."])


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
        ("rules = 3", "one table per flag"),
        ("[rules.a]", r"rules\.a.*it needs one of words"),
        ("[rules.a]\nword = 3", r"rules\.a: there is no 'word'. There are: words"),
        ("[rules.a]\nwords = true", r"rules\.a: words.*no whole number"),
        ("[rules.a]\nwords = -1", r"rules\.a: words"),
        ("[rules.a]\nwords = {}", r"rules\.a: words.*at_least, at_most"),
        ("[rules.a]\nwords = {at_least = 3, at_most = 2}", "less than at_least"),
        ("[rules.a]\nwords = {most = 3}", r"rules\.a: words\.most"),
        ('[rules.a]\njson = "perhaps"', r"rules\.a: json"),
        ('[rules.a]\nletters = "title"', r"rules\.a: letters"),
        ('[rules.a]\nkeywords = {"" = 2}', r"rules\.a: keywords"),
        ('[rules.a]\nwords = 2\n[patterns.a]\nany = ["x"]', "given twice"),
        ('[rules.a]\nlanguage = "english"', r"rules\.a: .*no language 'english'.* en,"),
    ],
)
def test_a_bad_file_is_refused_by_file_flag_and_field(tmp_path, text, words):
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


@pytest.mark.parametrize(
    "piece", ["[", "a. ", "*", "- ", "<<", "\n", '"', "1. ", "{", " ", "<<a", "x"]
)
def test_no_completion_makes_a_rule_slow(show, piece):
    start = time.process_time()
    show(
        "sentences = 1\nplaceholders = 1\nhighlights = 1\ntitle = true\njson = true\nbullets = 1",
        "x" + piece * 50_000 + "y",
    )
    show("json = true", piece * 50_000)
    assert time.process_time() - start < 5


SEVERAL = """
[[rules.followed_format]]
asked = "Use bullet points."
bullets = {at_least = 2}
[[rules.followed_format]]
asked = "Say sure."
starts_with = "Sure"
"""


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        ("What to bring? Use bullet points.", LIST, True),
        ("What to bring? Use bullet points.", HELPED, False),
        ("What to bring? Say sure.", HELPED, True),
        ("What to bring?", HELPED, None),
    ],
)
def test_of_several_rules_the_one_that_the_prompt_asks_for_decides(
    tmp_path, prompt, completion, expected
):
    path = tmp_path / "judge.toml"
    path.write_text(SEVERAL, encoding="utf-8")
    value = load_judge(str(path)).judge([prompt], [completion])["followed_format"][0]
    assert (None if value is pd.NA else bool(value)) is expected


def test_a_rule_that_only_asks_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"rules\.flag: .*it needs one of"):
        judged(tmp_path, '[rules.flag]\nasked = "Be brief."\n', [HELPED])
