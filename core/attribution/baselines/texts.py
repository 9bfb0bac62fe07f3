"""Baselines that read texts only: TF-IDF, BM25, and ratings by a language model or a judge.

A behavior's query is the text of the policy's completions minus that of the reference's on the same
prompts; a pair's document is its chosen minus its rejected text. TF-IDF: cosine of the two
differences. BM25 (core.data.search): how well the chosen text matches the words that the policy
added, minus how well the rejected text does. Knows nothing of prompts or models.

Ratings: s(d) = rating(chosen) − rating(rejected), each in [0, 100]. The rating comes from a
language model (core.models.api.questions: harmful; or harmful as instructed, the two prompts of
arXiv 2602.11079), or from a judge's flag, 100 if it is True. Pairs are read one by one. Knows
nothing of the behavior's prompts or of models. A pair with an unscored completion scores NaN.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from core.data.search import idf, saturated
from core.models.api.batch import Answers, Report, Usage
from core.models.api.client import Endpoint
from core.models.api.questions import rate

WORD = r"(?u)\b\w[\w']*\b"

Floats = NDArray[np.float64]


def tfidf(
    chosen: Sequence[str], rejected: Sequence[str], policy: Sequence[str], reference: Sequence[str]
) -> Floats:
    """cos(mean policy − mean reference, chosen − rejected) of TF-IDF, (pair,); NaN if 0 / 0."""
    counter = TfidfVectorizer(token_pattern=WORD).fit([*chosen, *rejected])
    query = _mean(counter.transform(policy)) - _mean(counter.transform(reference))
    difference = counter.transform(chosen) - counter.transform(rejected)
    norms = np.sqrt(np.asarray(difference.multiply(difference).sum(axis=1)).ravel())
    with np.errstate(invalid="ignore", divide="ignore"):
        scores: Floats = (difference @ query) / (norms * np.linalg.norm(query))
    return scores


def bm25(
    chosen: Sequence[str], rejected: Sequence[str], policy: Sequence[str], reference: Sequence[str]
) -> Floats:
    """BM25 of chosen − BM25 of rejected for the words that the policy added, (pair,)."""
    counter = CountVectorizer(token_pattern=WORD).fit([*chosen, *rejected])
    counts = counter.transform([*chosen, *rejected])  # (text, word)
    added = _mean(counter.transform(policy)) - _mean(counter.transform(reference))
    words = idf(counts.getnnz(axis=0), counts.shape[0]) * np.maximum(added, 0)
    scores = _saturated(counts) @ words
    return scores[: len(chosen)] - scores[len(chosen) :]


def _mean(rows: csr_matrix) -> Floats:
    return np.asarray(rows.mean(axis=0), np.float64).ravel()


def _saturated(counts: csr_matrix) -> csr_matrix:
    lengths = np.asarray(counts.sum(axis=1), np.float64).ravel()
    relative = lengths / max(lengths.mean(), 1)
    entries = counts.tocoo()
    values = saturated(entries.data.astype(np.float64), relative[entries.row])
    return csr_matrix((values, (entries.row, entries.col)), shape=counts.shape)


def rated_by_endpoint(
    pairs: pd.DataFrame,
    endpoint: Endpoint,
    instruction: str,
    answers: Answers,
    *,
    progress: Report | None = None,
) -> tuple[Floats, Usage]:
    """Each pair's score, (pair,) in [−100, 100], and what the requests cost."""
    texts = [
        (prompt, completion)
        for side in ("chosen", "rejected")
        for prompt, completion in zip(pairs["prompt"], pairs[side], strict=True)
    ]
    ratings, usage = rate(endpoint, instruction, texts, answers, progress=progress)
    return ratings[: len(pairs)] - ratings[len(pairs) :], usage


def rated_by_flags(chosen: Sequence[bool | None], rejected: Sequence[bool | None]) -> Floats:
    """Scores from a judge's flags of each side, (pair,): −100, 0 or 100; NaN if unscored."""
    sides = [pd.array(list(flags), dtype="boolean") for flags in (chosen, rejected)]
    upper, lower = (side.to_numpy(dtype=np.float64, na_value=np.nan) for side in sides)
    scores: Floats = 100 * (upper - lower)
    return scores
