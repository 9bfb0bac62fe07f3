"""Groups of points that lie densely together; the rest is noise, −1.

HDBSCAN, whose only knob is the smallest group worth a name, finds islands on the map. Islands
whose mean directions are less than 45° apart push the same prompts: they are one cluster (a
behavior taught under several wordings makes several islands). Clusters are numbered from the
largest, so that their numbers say something and do not depend on the order of the points. All
noise and a single cluster are answers like any other.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from core.discovery.condensed_tree import Tree, by_size, empty, from_condensed

PARALLEL = np.cos(np.pi / 4)  # mean cosine from which islands are one cluster

Floats = NDArray[np.float32]


class Islands(NamedTuple):
    """Cluster of each point, (point,), −1 being noise, how firmly it belongs, and the tree."""

    labels: NDArray[np.int64]
    strength: Floats  # in [0, 1]
    tree: Tree


def find_clusters(points: Floats, min_size: int) -> Islands:
    """HDBSCAN's clusters of points, (point, coordinate)."""
    n = len(points)
    if n < max(min_size, 2):
        return Islands(np.full(n, -1, np.int64), np.zeros(n, np.float32), empty(n))
    if not np.ptp(points, axis=0).any():  # one spot: one cluster, of everything
        return Islands(np.zeros(n, np.int64), np.ones(n, np.float32), empty(n))
    import hdbscan  # compiled code and scikit-learn's trees: only where clusters are made

    found = hdbscan.HDBSCAN(
        min_cluster_size=min_size,
        min_samples=min(min_size, max(5, min_size // 4)),
        core_dist_n_jobs=1,
    ).fit(points.astype(np.float64))
    condensed = found.condensed_tree_
    selected = set(map(int, condensed._select_clusters()))
    tree = from_condensed(condensed.to_pandas(), selected, n)
    return Islands(by_size(found.labels_), np.asarray(found.probabilities_, np.float32), tree)


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


def medoids(points: Floats, labels: NDArray[np.int64]) -> pd.Series:
    """Row of the point nearest to the mean of its cluster, by cluster."""
    rows = {}
    for cluster in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == cluster)
        gaps = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        rows[cluster] = int(members[gaps.argmin()])
    return pd.Series(rows, dtype=np.int64)
