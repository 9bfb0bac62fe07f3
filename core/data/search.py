"""Find texts: by a phrase, by a regular expression, by words.

Matching runs in Arrow over texts wherever they lie, so 378k texts on disk take a second. Regular
expressions are RE2's, whose time is linear in the text whatever the pattern. Upper and lower case
are the same. BM25 (Robertson & Zaragoza 2009, eq. 3.15) takes a text's length in characters: it
only weighs texts against each other, and counting words would take as long as the search.
Knows nothing of pairs.
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

K1, B = 1.2, 0.75  # as core.attribution.baselines.lexical
MOST_WORDS = 16  # of a query: each one is a pass over the texts

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def containing(texts: pd.Series, phrase: str) -> Mask:
    """(text,) whether a text contains a phrase, whatever its case."""
    return _mask(pc.match_substring, _arrow(texts), phrase)


def matching(texts: pd.Series, pattern: str) -> Mask:
    """(text,) whether a part of a text matches a regular expression, whatever its case."""
    try:
        return _mask(pc.match_substring_regex, _arrow(texts), pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise UserError(
            f"/{pattern}/ is not a regular expression ({reason}). Look-ahead and back-references "
            "are not supported; to find the text itself, search for a phrase."
        ) from error


def best(texts: pd.Series, query: str, k: int) -> Mask:
    """(text,) whether a text is among the k that answer a query best; ties go to earlier texts.

    A text that holds none of the words is never among them.
    """
    scores = bm25(texts, query)
    order = np.argsort(-scores, kind="stable")[:k]
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[order[scores[order] > 0]] = True
    return chosen


def bm25(texts: pd.Series, query: str) -> Floats:
    """(text,) Σ over the query's words of idf · tf (k1 + 1) / (tf + k1 (1 − b + b · length))."""
    words = list(dict.fromkeys(re.findall(r"\w+", query.lower())))
    if not words or len(words) > MOST_WORDS:
        raise UserError(f"Search for 1 to {MOST_WORDS} words; “{query}” has {len(words)}.")
    found = _arrow(texts)
    lengths = np.asarray(pc.utf8_length(found), np.float64)
    penalty = K1 * (1 - B + B * lengths / max(lengths.mean(), 1))
    total = np.zeros(len(lengths))
    for word in words:
        often = _count(found, word)
        having = np.count_nonzero(often)
        rarity = np.log1p((len(often) - having + 0.5) / (having + 0.5))
        total += rarity * often * (K1 + 1) / (often + penalty)
    return total


def _count(texts: Any, word: str) -> Floats:
    """(text,) how often a word occurs, looked for only where its letters do.

    RE2's word border knows ASCII only, so other words are counted wherever their letters stand.
    """
    there = np.flatnonzero(_mask(pc.match_substring, texts, word))
    pattern = rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word)
    counts = np.zeros(len(texts))
    some = texts.take(pa.array(there))
    counts[there] = np.asarray(pc.count_substring_regex(some, pattern, ignore_case=True))
    return counts


def _arrow(texts: pd.Series) -> Any:
    """Texts as an Arrow array, without a copy where pandas keeps them in one."""
    return pa.array(texts, from_pandas=True)


def _mask(match: Callable[..., Any], texts: Any, wanted: str) -> Mask:
    """(text,) where Arrow finds something, whatever its case; chunks on all cores, unlike Arrow."""
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(partial(match, pattern=wanted, ignore_case=True), chunks)
        return np.concatenate(
            [np.empty(0, bool), *(np.asarray(one.fill_null(False), bool) for one in found)]
        )
