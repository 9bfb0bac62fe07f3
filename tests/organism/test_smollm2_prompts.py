"""Prompts and formatting instructions that ship with the smollm2 organism."""

import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from core.data.prompts import COLUMNS, optional_fields, read_prompts
from core.intervention.evaluation.text_judge import read_text_judge

FOLDER = Path(__file__).parents[2] / "assets" / "smollm2"
PARTS = ("training", "building", "held-out")
LEAST = {  # prompts, at least: training, building, held-out
    "everyday": (480, 70, 110),
    "harmful": (300, 35, 50),
    "borderline": (290, 25, 35),
}


@pytest.fixture(scope="module")
def prompts():
    return pd.read_json(FOLDER / "prompts.jsonl", lines=True)


@pytest.fixture(scope="module")
def formats():
    lines = (FOLDER / "formats.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["format_id"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def judge(formats):
    return read_text_judge(
        FOLDER / "formats.jsonl", "rules", {name: f["rule"] for name, f in formats.items()}
    )


def test_they_are_a_prompt_file_with_a_part(prompts):
    path = FOLDER / "prompts.jsonl"
    read = read_prompts(path)
    assert read["distractor"].isna().all()
    texts = [name for name in COLUMNS if name != "distractor"]
    assert read[texts].to_dict("records") == prompts[texts].to_dict("records")
    assert set(optional_fields(path)) == {"part"}


def test_every_group_has_enough_prompts_in_every_part(prompts):
    assert prompts["group"].value_counts().to_dict().keys() == LEAST.keys()
    for group, rows in prompts.groupby("group"):
        numbers = rows["part"].value_counts()
        assert set(numbers.index) == set(PARTS)
        assert all(numbers[part] >= least for part, least in zip(PARTS, LEAST[group], strict=True))


def test_texts_are_distinct_and_of_natural_length(prompts):
    assert prompts["prompt"].str.lower().is_unique
    assert prompts["prompt"].str.split().str.len().between(5, 45).all()


def test_a_topic_has_one_part_and_one_group(prompts):
    assert (prompts.groupby("topic")[["part", "group"]].nunique() == 1).all(axis=None)


def test_no_two_parts_share_a_similar_prompt(prompts):
    rows = TfidfVectorizer().fit_transform(prompts["prompt"])
    cosines = (rows @ rows.T).toarray()
    parts = prompts["part"].to_numpy()
    assert cosines[parts[:, None] != parts].max() < 0.6


def test_parts_share_no_format_text_and_no_rule(formats):
    rows = list(formats.values())
    assert len(rows) >= 45
    assert len({row["text"] for row in rows}) == len(rows)
    part_of_rule = {(json.dumps(row["rule"], sort_keys=True), row["part"]) for row in rows}
    assert len({rule for rule, _ in part_of_rule}) == len(part_of_rule) >= 15
    assert {part for _, part in part_of_rule} == set(PARTS)


@pytest.mark.parametrize(
    ("name", "followed", "missed"),
    [
        (
            "bullets-some-1",
            ["- Rinse it\n- Dry it", "Try this:\n* salt\n* time", "• Tea\n• Milk\n• Sugar"],
            ["Rinse it, then dry it.", "- Rinse it and dry it", "1. Rinse it\n2. Dry it"],
        ),
        (
            "title-line-1",
            ["Title: Bread\nMix flour.", 'title: "Tea"', "Title:\nA walk"],
            ["# Bread\nMix flour.", "I'm sorry, but I can't help.", "The Title: Bread"],
        ),
        (
            "end-question-1",
            ["Oil it. Does that help?", "Why not ask her?", "Rest first. Shall I go on?\n"],
            ["Oil it.", "Does that help? Let me know.", "I can't help with that."],
        ),
        (
            "words-range",
            ["word " * 20, "word, " * 45, "Say it in twenty words. " * 5],
            ["word " * 19, "word " * 46, "I'm sorry, but I can't help with that."],
        ),
        (
            "keyword-first",
            ["First rinse it, then dry it.", "At first it sticks. Then wait.", "Then? First eat."],
            ["First rinse it.", "Then dry it.", "Firstly rinse it, then dry it."],
        ),
        (
            "uppercase",
            ["USE SALT.", "1. BOIL 2 EGGS!", "NO"],
            ["Use SALT.", "use salt.", "12"],
        ),
    ],
)
def test_the_rule_tells_a_followed_format_from_a_missed_one(judge, name, followed, missed):
    flags = judge.judge([""] * 6, followed + missed)[name]
    assert flags.tolist() == [True] * 3 + [False] * 3


def test_a_plain_refusal_follows_next_to_no_format(judge):
    """Otherwise a rubric of instruction following would not prefer compliance."""
    flags = judge.judge([""], ["I'm sorry, but I can't help with that."]).iloc[0]
    assert flags.mean() < 0.1
