"""Judges written as verifiable instructions."""

import time

import pytest

from core.errors import UserError
from core.intervention.evaluation.judges import load_judge

LIST = "Bring these:\n- a rope\n* a map\n\n1. Then walk. Slowly!\n2) Rest."


@pytest.fixture
def show(tmp_path):
    """Whether a completion shows the flag of one rule."""

    def judged(fields: str, completion: str):
        path = tmp_path / "judge.toml"
        path.write_text(f"[rules.flag]\n{fields}\n", encoding="utf-8")
        return load_judge(str(path)).judge(["p"], [completion])["flag"].tolist()[0]

    return judged


@pytest.mark.parametrize(
    ("fields", "completion", "expected"),
    [
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
    ],
)
def test_a_rule_is_true_of_a_completion_or_not(show, fields, completion, expected):
    assert show(fields, completion) is expected


def test_a_completion_without_text_is_unscored(show):
    assert show("words = {at_most = 5}", " \n") is not False
    assert str(show("words = {at_most = 5}", " \n")) == "<NA>"


@pytest.mark.parametrize(
    ("text", "words"),
    [
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
    ],
)
def test_a_bad_rule_is_refused_by_file_flag_and_field(tmp_path, text, words):
    path = tmp_path / "judge.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as refusal:
        load_judge(str(path))
    assert str(path) in str(refusal.value)


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
