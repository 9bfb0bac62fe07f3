"""Would the same clusters come out again: over other prompts, and over other seeds.

Agreement of two clusterings is the adjusted Rand index (Hubert and Arabie, 1985): 1 is the same, 0
what chance gives. Pairs in no cluster count as a group of their own, so that finding the same
pairs at all counts too. A single cluster is as stable as its best match (Jaccard) over the
repeats (Hennig, 2007): above 0.75 it is there, below 0.5 it dissolves.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.discovery.condensed_tree import Tree, cut, levels
from core.discovery.matrix import Matrix
from core.discovery.prompt_clusters import find_prompt_clusters
from core.discovery.refine import Sharpen

Labels = NDArray[np.int64]
Report = Callable[[int, int], None]


def over_prompts(
    matrix: Matrix, count: int, *, repeats: int, seed: int, report: Report, sharpen: Sharpen
) -> list[Labels]:
    """Clusters of the same pairs from prompts drawn with replacement, one per repeat.

    A prompt drawn twice weighs twice.
    """
    random = np.random.default_rng(seed)
    found = []
    for number in range(repeats):
        n = len(matrix.alike)
        times = random.multinomial(n, np.full(n, 1 / n))
        drawn = _drawn(matrix, times)
        found.append(sharpen(drawn, find_prompt_clusters(drawn, count)).hardest())
        report(number + 1, repeats)
    return found


def agreement(labels: Labels, others: Sequence[Labels]) -> dict[str, float | int]:
    """Mean and range of the adjusted Rand index of some clusterings with one."""
    from sklearn.metrics import adjusted_rand_score

    found = [float(adjusted_rand_score(labels, other)) for other in others]
    if not found:
        return {"n": 0}
    return {
        "mean": float(np.mean(found)),
        "low": min(found),
        "high": max(found),
        "n": len(found),
    }


def recovered(labels: Labels, others: Sequence[Labels]) -> pd.Series:
    """Mean Jaccard of each cluster with its best match in the others, by cluster; −1 left out."""
    clusters = sorted(set(labels[labels >= 0].tolist()))
    if not others:
        return pd.Series(np.nan, index=clusters, dtype=float)
    best = [[_best_match(labels == cluster, other) for other in others] for cluster in clusters]
    return pd.Series(np.mean(best, axis=1) if best else [], index=clusters, dtype=float)


def cuts(others: Sequence[Tree], n_groups: int) -> list[Labels]:
    """Other trees of the same points, each cut into as many groups, or as nearly as it can be."""
    found = []
    for other in others:
        known = levels(other.nodes)
        if known:
            nearest = min(known, key=lambda n: abs(n - n_groups))
            found.append(cut(other, known[nearest]))
    return found


def _drawn(matrix: Matrix, times: NDArray[np.int64]) -> Matrix:
    """The matrix with each defined prompt as often as it was drawn: left out, or by weight."""
    rows = np.flatnonzero(matrix.prompt_defined)
    drawn = times > 0
    defined = np.zeros_like(matrix.prompt_defined)
    defined[rows[drawn]] = True
    weights = matrix.weights.copy()
    weights[rows] *= times
    return replace(
        matrix,
        weights=weights,
        alike=matrix.alike[np.ix_(drawn, drawn)],
        prompt_defined=defined,
    )


def _best_match(members: NDArray[np.bool_], other: Labels) -> float:
    inside = other[members]
    inside = inside[inside >= 0]
    if not len(inside):
        return 0.0
    names, both = np.unique(inside, return_counts=True)
    sizes = np.bincount(other[other >= 0])[names]
    return float((both / (members.sum() + sizes - both)).max())
