"""Full-text search: by phrase, by regular expression, and by words (BM25).

Matching runs in Arrow over texts that may be memory-mapped, so 378k texts on disk take a second.
Regular expressions are RE2's, whose time is linear in the text whatever the pattern. Case is
ignored. Knows nothing of pairs.
"""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import UserError

K1, B = 1.2, 0.75  # saturation of a word's count, and how far length is normalised
MOST_WORDS = 16  # of a query: each one is a pass over the texts

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def containing(texts: pd.Series, phrase: str) -> Mask:
    """(text,) whether a text contains a phrase, in any case."""
    return _mask(pc.match_substring, _arrow(texts), phrase)


def matching(texts: pd.Series, pattern: str) -> Mask:
    """(text,) whether a part of a text matches a regular expression, in any case."""
    try:
        return _mask(pc.match_substring_regex, _arrow(texts), pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise UserError(
            f"/{pattern}/ is not a regular expression ({reason}). Look-ahead and back-references "
            "are not supported; to find the text itself, search for a phrase."
        ) from error


def best(texts: pd.Series, query: str, k: int) -> Mask:
    """(text,) whether a text is among the k with the highest BM25; ties go to earlier texts.

    A text that contains none of the words is never among them.
    """
    scores = bm25(texts, query)
    order = np.argsort(-scores, kind="stable")[:k]
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[order[scores[order] > 0]] = True
    return chosen


def bm25(texts: pd.Series, query: str) -> Floats:
    """(text,) BM25, Σ over the query's words of idf · saturated count.

    A text's length is in characters: it only weighs texts against each other, and counting words
    would take as long as the search.
    """
    words = list(dict.fromkeys(re.findall(r"\w+", query.lower())))
    if not words or len(words) > MOST_WORDS:
        raise UserError(f"Search for 1 to {MOST_WORDS} words; “{query}” has {len(words)}.")
    arrow = _arrow(texts)
    lengths = np.asarray(pc.utf8_length(arrow), np.float64)
    relative = lengths / max(lengths.mean(), 1)
    total = np.zeros(len(lengths))
    for word in words:
        counts = _counts(arrow, word)
        total += idf(np.count_nonzero(counts), len(counts)) * saturated(counts, relative)
    return total


def idf(n_with_word: Any, n: int) -> Any:
    """log(1 + (N − n + ½) / (n + ½)), n of N texts having the word (Robertson & Zaragoza 2009)."""
    return np.log1p((n - n_with_word + 0.5) / (n_with_word + 0.5))


def saturated(counts: Floats, relative_lengths: Floats) -> Floats:
    """tf (k1 + 1) / (tf + k1 (1 − b + b · length / mean length)); eq. 3.15 of the same."""
    return counts * (K1 + 1) / (counts + K1 * (1 - B + B * relative_lengths))


def _counts(texts: Any, word: str) -> Floats:
    """(text,) occurrences of a word, counted only in texts that contain its letters.

    RE2's word border knows ASCII only, so other words are counted within words, too.
    """
    rows = np.flatnonzero(_mask(pc.match_substring, texts, word))
    pattern = rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word)
    counts = np.zeros(len(texts))
    some = texts.take(pa.array(rows))
    counts[rows] = np.asarray(pc.count_substring_regex(some, pattern, ignore_case=True))
    return counts


def _arrow(texts: pd.Series) -> Any:
    """Texts as an Arrow array, without a copy where pandas stores them in one."""
    return pa.array(texts, from_pandas=True)


def _mask(match: Callable[..., Any], texts: Any, pattern: str) -> Mask:
    """(text,) where Arrow finds a match, in any case; chunks on all cores, unlike Arrow."""
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        masks = threads.map(partial(match, pattern=pattern, ignore_case=True), chunks)
        return np.concatenate(
            [np.empty(0, bool), *(np.asarray(mask.fill_null(False), bool) for mask in masks)]
        )
