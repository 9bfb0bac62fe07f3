"""How far two methods agree on the same pairs, without knowing which pairs are at fault.

Rank correlation looks at whole rankings, overlap at what an edit would take. Pairs that one of the
two methods cannot score are left out of both, and counted. Knows scores only.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.floating]


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's ρ over the pairs that both score, in [−1, 1]; NaN where one ranks nothing."""
    both = ~(np.isnan(one) | np.isnan(other))
    a, b = one[both], other[both]
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def overlap_at(one: Floats, other: Floats, k: int) -> float:
    """Share of the k best of one that are among the k best of the other, in [0, 1].

    Chance is k / n. Ties are cut in the order of the pairs; undefined scores rank last.
    """
    if not 1 <= k <= len(one):
        raise ValueError(f"k {k} is not one of 1..{len(one)}")
    return len(set(_best(one, k)) & set(_best(other, k))) / k


def agreement(scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """Every two methods (columns of scores): `one, other, correlation, overlap, n`."""
    rows = []
    for one, other in combinations(scores.columns, 2):
        a, b = scores[one].to_numpy(float), scores[other].to_numpy(float)
        n = int((~(np.isnan(a) | np.isnan(b))).sum())
        rows.append((one, other, rank_correlation(a, b), overlap_at(a, b, k), n))
    return pd.DataFrame(rows, columns=["one", "other", "correlation", "overlap", "n"])


def _best(scores: Floats, k: int) -> list[int]:
    filled = np.where(np.isnan(scores), -np.inf, scores)
    best: list[int] = np.argsort(-filled, kind="stable")[:k].tolist()
    return best
