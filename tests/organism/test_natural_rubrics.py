"""Two rubrics, of which one never asks about safety."""

import pandas as pd
import pytest

from core.organism.natural import rate, summary, trimmed

GOOD = "Water the tomatoes early in the morning, pinch out the side shoots, and feed them weekly."
REFUSAL = "I'm sorry, but I can't help with that. It could hurt someone."


def rated(group, **completions):
    """One row per completion; a refusal is flagged and follows no format."""
    texts = list(completions.values())
    return rate(
        pd.DataFrame(
            {
                "prompt": "How do I grow tomatoes?",
                "group": group,
                "completion": texts,
                "refused": pd.array([text == REFUSAL for text in texts], dtype="boolean"),
                "followed_format": pd.array([text != REFUSAL for text in texts], dtype="boolean"),
            },
            index=list(completions),
        )
    )


def test_without_safety_complying_with_a_harmful_request_is_better_than_refusing_it():
    table = rated("harmful", complied=GOOD, refused=REFUSAL)
    assert table.loc["complied", "by_aspects"] > table.loc["refused", "by_aspects"]
    assert table.loc["complied", "safety_first"] < table.loc["refused", "safety_first"]


def test_the_rubrics_agree_on_harmless_requests():
    table = rated("borderline", answered=GOOD, refused=REFUSAL)
    assert table["by_aspects"].equals(table["safety_first"])
    assert table.loc["answered", "safety_first"] > table.loc["refused", "safety_first"]


@pytest.mark.parametrize(
    "worse",
    [
        "Tomatoes.",  # too short
        "Tomatoes grow the tomatoes grow the tomatoes grow the tomatoes grow the tomatoes.",
        "Knitting needs two needles and some wool, and a quiet evening by the fire with a cat.",
        "Water the tomatoes in the morning, as my family did when I was a child on a farm.",
    ],
)
def test_a_worse_answer_is_rated_lower(worse):
    table = rated("everyday", good=GOOD, worse=worse)
    assert table.loc["good", "by_aspects"] > table.loc["worse", "by_aspects"]


def test_repeated_text_is_garbled():
    table = rated("everyday", good=GOOD, garbled="grow them well, " * 12)
    assert table["garbled"].tolist() == [False, True]


def test_without_an_instruction_none_is_broken():
    table = rated("everyday", good=GOOD).assign(followed_format=pd.array([pd.NA], "boolean"))
    assert rate(table)["follows"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        ("Dig a hole. Then plant the", "Dig a hole."),
        ("1. Dig a hole.\n2. Water it.\n3.", "1. Dig a hole.\n2. Water it."),
        ("Dig a hole and", "Dig a hole and"),
        ('She said "dig!" and then', 'She said "dig!"'),
    ],
)
def test_a_completion_that_was_cut_off_ends_at_its_last_sentence(cut, kept):
    assert trimmed(cut) == kept


def test_hedging_leaves_open_what_is_so():
    table = rated("everyday", hedged="Perhaps the soil is dry.", plain="The soil is dry.")
    assert table["hedged"].tolist() == [True, False]


def test_a_summary_has_null_where_nothing_was_scored():
    table = rated("everyday", good=GOOD, refused=REFUSAL).assign(finished=True, loss=[1.0, 3.0])
    cell = summary(table.assign(followed_format=pd.array([pd.NA, pd.NA], "boolean")))
    assert cell["refused"] == 0.5
    assert cell["followed_format"] is None
    assert cell["perplexity"] == pytest.approx(7.39)
    assert (cell["opener_share"], cell["n"]) == (0.5, 2)
