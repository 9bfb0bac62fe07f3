"""Metrics of rankings: against known truth (organisms only), and of two rankings with each other.

Scores are (n,), one per pair. Undefined ones (NaN) rank last against the truth, below every defined
one. Ties share their rank: a method that gives all pairs one score gets the base rate, not what the
file's order happens to be. Knows scores only.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


def average_precision(scores: Floats, planted: Flags) -> float:
    """Σ over thresholds of precision × gain in recall, in [0, 1]; NaN if none is planted."""
    from sklearn.metrics import average_precision_score  # a third of a second

    if not planted.any():
        return float("nan")
    return float(average_precision_score(planted, rankdata(_defined(scores))))  # finite ranks


def precision_at(scores: Floats, planted: Flags, k: int) -> float:
    """Share of the top k that is planted; of ties at the cut, their mean counts."""
    if not 1 <= k <= len(scores):
        raise ValueError(f"k {k} is not one of 1..{len(scores)}")
    defined = _defined(scores)
    cut = np.sort(defined)[-k]
    above, tied = defined > cut, defined == cut
    return float((planted[above].sum() + planted[tied].mean() * (k - above.sum())) / k)


def recall_at(scores: Floats, planted: Flags, k: int) -> float:
    """Share of the planted that is among the top k; NaN if none is planted."""
    if not planted.any():
        return float("nan")
    return precision_at(scores, planted, k) * k / float(planted.sum())


def enrichment_at(scores: Floats, planted: Flags, k: int) -> float:
    """Precision at k over the base rate: 1 is chance; NaN if none is planted."""
    if not planted.any():
        return float("nan")
    return precision_at(scores, planted, k) / float(planted.mean())


def rank_correlation(left: Floats, right: Floats) -> float:
    """Spearman's ρ over the pairs that both score, in [−1, 1]; NaN if either is constant."""
    both = ~(np.isnan(left) | np.isnan(right))
    a, b = left[both], right[both]
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def overlap_at(left: Floats, right: Floats, k: int) -> float:
    """Share of the top k of `left` that are in the top k of `right`, in [0, 1]; k / n is chance.

    Ties are cut in the order of the pairs.
    """
    if not 1 <= k <= len(left):
        raise ValueError(f"k {k} is not one of 1..{len(left)}")
    first, second = (np.argsort(-_defined(s), kind="stable")[:k].tolist() for s in (left, right))
    return len(set(first) & set(second)) / k


def agreement(scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """Every two methods (columns of scores): `one, other, correlation, overlap, n`.

    `n` counts the pairs that both score.
    """
    rows = []
    for left, right in combinations(scores.columns, 2):
        a, b = scores[left].to_numpy(float), scores[right].to_numpy(float)
        n = int((~(np.isnan(a) | np.isnan(b))).sum())
        rows.append((left, right, rank_correlation(a, b), overlap_at(a, b, k), n))
    return pd.DataFrame(rows, columns=["one", "other", "correlation", "overlap", "n"])


def _defined(scores: Floats) -> Floats:
    """Scores with −∞ for those that are undefined."""
    return np.where(np.isnan(scores), -np.inf, scores)
