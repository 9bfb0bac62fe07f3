"""How well a ranking finds the pairs at fault, where these are known (organisms only).

Scores that are undefined (NaN) rank last, below every defined one. Ties share their rank: a
method that gives all pairs one score gets the base rate, not what the file's order happens to be.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


def average_precision(scores: Floats, planted: Flags) -> float:
    """Mean over thresholds of precision × gain in recall, as scikit-learn; NaN if none planted."""
    if not planted.any():
        return float("nan")
    ordered, hits = _descending(scores, planted)
    last = np.append(ordered[1:] != ordered[:-1], True)  # ends of ties
    found = np.cumsum(hits)[last]
    taken = np.flatnonzero(last) + 1
    gains = np.diff(found, prepend=0) / planted.sum()
    return float((gains * found / taken).sum())


def precision_at(scores: Floats, planted: Flags, k: int) -> float:
    """Share of the k best that is planted, ties at the cut counted by their mean."""
    if not 1 <= k <= len(scores):
        raise ValueError(f"k {k} is not one of 1..{len(scores)}")
    ordered, hits = _descending(scores, planted)
    above = ordered > ordered[k - 1]
    tied = ordered == ordered[k - 1]
    return float((hits[above].sum() + hits[tied].mean() * (k - above.sum())) / k)


def recall_at(scores: Floats, planted: Flags, k: int) -> float:
    """Share of the planted that is among the k best; NaN if none is planted."""
    if not planted.any():
        return float("nan")
    return precision_at(scores, planted, k) * k / float(planted.sum())


def enrichment_at(scores: Floats, planted: Flags, k: int) -> float:
    """Precision at k over the base rate: 1 is chance."""
    if not planted.any():
        return float("nan")
    return precision_at(scores, planted, k) / float(planted.mean())


def detection_area(scores: Floats, planted: Flags) -> float:
    """Area under the share of the planted found against the share of pairs looked at, best first.

    By the trapezoid rule (Kwon et al. 2024; mislabel detection in quanda). ½ is chance, up to ties,
    which are in the order of the pairs here. NaN if none is planted.
    """
    if not planted.any():
        return float("nan")
    _, hits = _descending(scores, planted)
    return float(np.trapezoid(np.cumsum(hits) / planted.sum()) / len(planted))


def _descending(scores: Floats, planted: Flags) -> tuple[Floats, Flags]:
    filled = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-filled, kind="stable")
    return filled[order], planted[order]
