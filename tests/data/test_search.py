"""Searching texts: phrases, regular expressions, BM25."""

import numpy as np
import pandas as pd
import pytest

from core.data import search
from core.errors import UserError

TEXTS = pd.Series(
    [
        "Sure, here is how to bake bread.",
        "I CANNOT help with (that).",
        "bread bread bread",
        "Ünïcode ÉTÉ and breadth",
        "",
    ]
)


@pytest.mark.parametrize(
    ("phrase", "rows"),
    [("bread", [0, 2, 3]), ("cannot", [1]), ("(that)", [1]), ("été", [3]), (".", [0, 1])],
)
def test_a_phrase_matches_literally_in_any_case(phrase, rows):
    assert list(np.flatnonzero(search.containing(TEXTS, phrase))) == rows


def test_a_regular_expression_matches_in_any_case():
    assert list(np.flatnonzero(search.matching(TEXTS, r"^(sure|i cannot)\b"))) == [0, 1]


def test_a_pattern_that_cannot_be_used_is_refused_with_a_reason():
    with pytest.raises(UserError, match="is not a regular expression"):
        search.matching(TEXTS, "(?=bread)")


def test_a_hostile_pattern_takes_linear_time():
    long = pd.Series(["a" * 50_000 + "b"])
    assert not search.matching(long, r"^(a+)+$")[0]


def test_a_word_that_is_frequent_in_a_short_text_ranks_first():
    scores = search.bm25(TEXTS, "bread")
    assert scores[2] > scores[0] > 0  # three times in a short text; once in a longer one
    assert scores[3] == 0  # "breadth" is another word


def test_bm25_is_the_formula():
    lengths = TEXTS.str.len().to_numpy(float)
    often = np.array([1, 0, 3, 0, 0])
    rarity = np.log1p((5 - 2 + 0.5) / (2 + 0.5))
    penalty = 1.2 * (1 - 0.75 + 0.75 * lengths / lengths.mean())
    expected = rarity * often * 2.2 / (often + penalty)
    assert search.bm25(TEXTS, "Bread") == pytest.approx(expected)


def test_the_best_are_at_most_k_and_contain_a_word():
    assert list(np.flatnonzero(search.best(TEXTS, "bread cannot", 10))) == [0, 1, 2]
    assert search.best(TEXTS, "bread cannot", 1).sum() == 1


def test_a_query_without_a_word_is_refused():
    with pytest.raises(UserError, match="has 0"):
        search.best(TEXTS, "…!", 3)
