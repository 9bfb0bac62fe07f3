"""Stability of clusters over draws of prompts and seeds, and clusters matched between clusterings.

Agreement of two clusterings is the adjusted Rand index (Hubert & Arabie 1985): 1 for the same
clusters, 0 for chance. Pairs in no cluster count as a group of their own, so that finding the same
pairs at all counts too. A single cluster is as stable as its best match (Jaccard: shared / either)
is on average over the repeats (Hennig 2007): above 0.75 it recurs, below 0.5 it dissolves. The best
match also carries the labels of a cluster over to another clustering, whose numbers differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.discovery.clustering import Tree, cut, levels
from core.discovery.matrix import Flags, Matrix
from core.discovery.prompt_clusters import Labels, find_prompt_clusters
from core.discovery.refine import Refine
from core.runs.progress import Report

VANISHED = 0.1  # Jaccard below which a cluster has no match
COLUMNS = ["earlier", "pairs", "cluster", "shared", "jaccard"]


def over_prompts(
    matrix: Matrix, count: int, *, repeats: int, seed: int, report: Report, refine: Refine
) -> list[Labels]:
    """Clusters of the same pairs from prompts drawn with replacement, one (pair,) per repeat.

    A prompt drawn twice weighs twice.
    """
    random = np.random.default_rng(seed)
    n = len(matrix.row_similarity)
    clusterings = []
    for number in range(repeats):
        drawn = _drawn(matrix, random.multinomial(n, np.full(n, 1 / n)))
        clusterings.append(refine(drawn, find_prompt_clusters(drawn, count)).strongest())
        report(number + 1, repeats)
    return clusterings


def agreement(labels: Labels, others: Sequence[Labels]) -> dict[str, float | int]:
    """Mean and range of the adjusted Rand index of other clusterings with one."""
    from sklearn.metrics import adjusted_rand_score

    if not others:
        return {"n": 0}
    values = [float(adjusted_rand_score(labels, other)) for other in others]
    return {
        "mean": float(np.mean(values)),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def recovered(labels: Labels, others: Sequence[Labels]) -> pd.Series:
    """Mean Jaccard of each cluster with its best match in the others, by cluster; −1 left out."""
    clusters = sorted(set(labels[labels >= 0].tolist()))
    members = {cluster: labels == cluster for cluster in clusters}
    best = [best_matches(members, other, least=0)["jaccard"] for other in others]
    means = np.mean(best, axis=0) if best and clusters else np.nan
    return pd.Series(means, index=clusters, dtype=float)


def best_matches(
    earlier: Mapping[Any, Flags], labels: Labels, *, least: float = VANISHED
) -> pd.DataFrame:
    """The cluster that overlaps most with each earlier one, a row each: `COLUMNS`.

    `earlier` has the pairs of each, (pair,), `labels` the cluster of every pair, −1 for none.
    `cluster` is −1 where the best Jaccard is below `least`.
    """
    sizes = np.bincount(labels[labels >= 0])
    rows = []
    for name, members in earlier.items():
        n = int(members.sum())
        clusters, shared = np.unique(labels[members & (labels >= 0)], return_counts=True)
        jaccard = shared / (sizes[clusters] + n - shared)
        row = {"earlier": name, "pairs": n, "cluster": -1, "shared": 0, "jaccard": 0.0}
        if len(jaccard) and jaccard.max() >= least:
            top = np.lexsort((shared, jaccard))[-1]
            row |= {"cluster": int(clusters[top]), "shared": int(shared[top])}
            row["jaccard"] = float(jaccard[top])
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def cut_into(others: Sequence[Tree], n_groups: int) -> list[Labels]:
    """Other trees of the same points, each cut into the nearest possible number of groups."""
    cuts = []
    for other in others:
        distances = levels(other.nodes)
        if distances:
            nearest = min(distances, key=lambda n: abs(n - n_groups))
            cuts.append(cut(other, distances[nearest]))
    return cuts


def _drawn(matrix: Matrix, times: NDArray[np.int64]) -> Matrix:
    """The matrix with each defined prompt as often as it was drawn: left out, or by weight."""
    rows = np.flatnonzero(matrix.prompt_defined)
    drawn = times > 0
    defined = np.zeros_like(matrix.prompt_defined)
    defined[rows[drawn]] = True
    weights = matrix.weights.copy()
    weights[rows] *= times
    similarity = matrix.row_similarity[np.ix_(drawn, drawn)]
    return replace(matrix, weights=weights, row_similarity=similarity, prompt_defined=defined)
