"""Groups of points that lie densely together; the rest is noise, −1.

HDBSCAN, whose only knob is the smallest group worth a name, finds islands on the map. Islands
whose mean directions are less than 45° apart push the same prompts: they are one cluster (a
behavior taught under several wordings makes several islands). Clusters are numbered from the
largest, so that their numbers say something and do not depend on the order of the points. All
noise and a single cluster are answers like any other.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

PARALLEL = np.cos(np.pi / 4)  # mean cosine from which islands are one cluster

Floats = NDArray[np.float32]


def find_clusters(points: Floats, min_size: int) -> tuple[NDArray[np.int64], Floats]:
    """Cluster of each point, (point,), −1 being noise, and how firmly it belongs, in [0, 1]."""
    if len(points) < max(min_size, 2):
        return np.full(len(points), -1, np.int64), np.zeros(len(points), np.float32)
    if not np.ptp(points, axis=0).any():  # one spot: one cluster, of everything
        return np.zeros(len(points), np.int64), np.ones(len(points), np.float32)
    import hdbscan  # compiled code and scikit-learn's trees: only where clusters are made

    found = hdbscan.HDBSCAN(
        min_cluster_size=min_size,
        min_samples=min(min_size, max(5, min_size // 4)),
        core_dist_n_jobs=1,
    ).fit(points.astype(np.float64))
    strength = np.asarray(found.probabilities_, np.float32)
    return by_size(found.labels_), strength


def merge_parallel(directions: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join clusters by average linkage while the mean cosine of their means is `PARALLEL`.

    `directions` are (point, feature), relative to points that belong to nothing.
    """
    n_clusters = labels.max(initial=-1) + 1
    if n_clusters < 2:
        return labels
    means = np.array([directions[labels == c].mean(axis=0) for c in range(n_clusters)])
    joined = fcluster(linkage(means, "average", "cosine"), 1 - PARALLEL, "distance")
    return by_size(np.where(labels >= 0, joined[labels], -1))


def by_size(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Renumber clusters from the largest, ties by first appearance; noise stays −1."""
    counts = pd.Series(labels[labels >= 0]).value_counts(sort=False)  # by first appearance
    order = counts.sort_values(ascending=False, kind="stable").index
    numbers = pd.Series(np.arange(len(order)), index=order)
    renumbered: NDArray[np.int64] = (
        numbers.reindex(labels, fill_value=-1).to_numpy(np.int64)
        if len(order)
        else np.full(len(labels), -1, np.int64)
    )
    return renumbered


def medoids(points: Floats, labels: NDArray[np.int64]) -> pd.Series:
    """Row of the point nearest to the mean of its cluster, by cluster."""
    rows = {}
    for cluster in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == cluster)
        gaps = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        rows[cluster] = int(members[gaps.argmin()])
    return pd.Series(rows, dtype=np.int64)
