"""HDBSCAN clusters of points, their condensed tree, and coarser or finer cuts of it.

HDBSCAN's one setting is the smallest cluster; points in no cluster are noise, −1. Clusters whose
mean directions differ by less than 45° are merged: they act on the same prompts (a behavior taught
under several wordings makes several clusters on the map). Clusters are numbered from the largest,
so that numbers do not depend on the order of the points. All noise, and one cluster, are valid
results.

A node of the tree is a group of points at some distance; with falling distance points drop out of
it, or it splits in two. `birth` and `death` are densities, 1 / distance: a node exists from the
density at which it splits off to that at which it splits or ends. The nodes that exist at
1 / distance are the groups of a cut; those that HDBSCAN takes as clusters are `selected`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PARALLEL = np.cos(np.pi / 4)  # mean cosine from which clusters are merged
COLUMNS = ["node", "parent", "birth", "death", "size", "stability", "selected"]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class Tree(NamedTuple):
    """`nodes` has `COLUMNS`, the root's parent being −1."""

    nodes: pd.DataFrame
    leaf: Labels  # (point,) the last node that contains it; −1: in no tree
    leaves: NDArray[np.float64]  # (point,) density at which it drops out of that node


class Clustering(NamedTuple):
    """Cluster of each point, (point,), −1 being noise, its membership strength, and the tree."""

    labels: Labels
    strength: Floats  # in [0, 1]
    tree: Tree


def find_clusters(points: Floats, min_size: int) -> Clustering:
    """HDBSCAN's clusters of points, (point, coordinate)."""
    n = len(points)
    no_nodes = pd.DataFrame(columns=COLUMNS)
    no_tree = Tree(no_nodes, np.full(n, -1, np.int64), np.zeros(n))
    if n < max(min_size, 2):
        return Clustering(np.full(n, -1, np.int64), np.zeros(n, np.float32), no_tree)
    if not np.ptp(points, axis=0).any():  # identical points are one cluster
        return Clustering(np.zeros(n, np.int64), np.ones(n, np.float32), no_tree)
    import hdbscan  # compiled code and scikit-learn's trees: only where clusters are made

    fitted = hdbscan.HDBSCAN(
        min_cluster_size=min_size,
        min_samples=min(min_size, max(5, min_size // 4)),
        core_dist_n_jobs=1,
    ).fit(points.astype(np.float64))
    tree = _tree(fitted.condensed_tree_.to_pandas(), fitted.labels_)
    return Clustering(by_size(fitted.labels_), np.asarray(fitted.probabilities_, np.float32), tree)


def _tree(edges: pd.DataFrame, labels: Labels) -> Tree:
    """From hdbscan's condensed tree (`parent, child, lambda_val, child_size`) and labels."""
    n = len(labels)
    points, splits = edges[edges["child"] < n], edges[edges["child"] >= n]
    leaf, leaves = np.full(n, -1, np.int64), np.zeros(n)
    leaf[points["child"]] = points["parent"] - n
    leaves[points["child"]] = points["lambda_val"]
    root = pd.DataFrame({"child": [n], "parent": [n - 1], "lambda_val": 0.0, "child_size": n})
    nodes = pd.concat([root, splits], ignore_index=True)
    # identical points never part: their density is infinite, and counts as the largest finite one
    largest = edges["lambda_val"][np.isfinite(edges["lambda_val"])].max()
    density = edges["lambda_val"].clip(upper=1.0 if np.isnan(largest) else largest)
    mass = edges.assign(mass=density * edges["child_size"]).groupby("parent")
    sums = mass[["mass", "child_size"]].sum().reindex(nodes["child"]).to_numpy()
    birth = nodes["lambda_val"].to_numpy()
    table = pd.DataFrame(
        {
            "node": nodes["child"] - n,
            "parent": nodes["parent"] - n,
            "birth": birth,
            "death": edges.groupby("parent")["lambda_val"].max().reindex(nodes["child"]).to_numpy(),
            "size": nodes["child_size"].astype(np.int64),
            "stability": sums[:, 0] - birth * sums[:, 1],
        }
    ).sort_values("node", ignore_index=True)
    return Tree(table.assign(selected=_selected(table, leaf, labels)), leaf, leaves)


def _selected(nodes: pd.DataFrame, leaf: Labels, labels: Labels) -> NDArray[np.bool_]:
    """(node,) whether it is a cluster: the ancestor of a cluster's leaves that has its size."""
    parents, sizes = nodes["parent"].to_numpy(), nodes["size"].to_numpy()  # row = node
    selected = np.zeros(len(nodes), bool)
    clusters, first, counts = np.unique(labels, return_index=True, return_counts=True)
    for node, count in zip(leaf[first[clusters >= 0]], counts[clusters >= 0], strict=True):
        while sizes[node] < count:
            node = parents[node]
        selected[node] = True
    return selected


def cut(tree: Tree, distance: float) -> Labels:
    """The group of every point at a distance, numbered from the largest; −1: none.

    A larger distance is coarser.
    """
    density = 1 / distance
    group = {-1: -1}
    nodes = tree.nodes[["node", "parent", "birth"]].itertuples(index=False, name=None)
    for node, parent, birth in nodes:  # parents come before their children
        group[node] = node if birth <= density else group.get(parent, -1)
    labels = np.array([group[int(node)] for node in tree.leaf], np.int64)
    labels[tree.leaves < density] = -1
    return by_size(labels)


def levels(nodes: pd.DataFrame) -> dict[int, float]:
    """The largest distance that cuts the tree into each possible number of groups, ascending."""
    distances: dict[int, float] = {}
    for distance in sorted({1 / birth for birth in nodes["birth"] if birth > 0}, reverse=True):
        just_below = float(0.999 * distance)  # there the node has split
        distances.setdefault(n_groups(nodes, just_below), just_below)
    return dict(sorted(distances.items()))


def n_groups(nodes: pd.DataFrame, distance: float) -> int:
    """Number of groups at a distance."""
    exists = (nodes["birth"] <= 1 / distance) & (nodes["death"] > 1 / distance)
    return int(exists.sum())


def merge_parallel(directions: Floats, labels: Labels) -> Labels:
    """Merge clusters by average linkage while the mean cosine of their means is `PARALLEL`.

    `directions` are (point, feature), relative to points in no cluster.
    """
    n_clusters = labels.max(initial=-1) + 1
    if n_clusters < 2:
        return labels
    from scipy.cluster.hierarchy import fcluster, linkage  # 0.2 s, and pages never merge

    means = np.array([directions[labels == c].mean(axis=0) for c in range(n_clusters)])
    merged = fcluster(linkage(means, "average", "cosine"), 1 - PARALLEL, "distance")
    return by_size(np.where(labels >= 0, merged[labels], -1))


def medoids(points: Floats, labels: Labels) -> pd.Series:
    """Row of the point nearest to the mean of its cluster, by cluster."""
    rows = {}
    for cluster in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == cluster)
        gaps = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        rows[cluster] = int(members[gaps.argmin()])
    return pd.Series(rows, dtype=np.int64)


def by_size(labels: NDArray[np.integer]) -> Labels:
    """Renumber clusters from the largest, ties by first appearance; noise stays −1."""
    renumbered = np.full(len(labels), -1, np.int64)
    codes, names = pd.factorize(labels[labels >= 0])  # by first appearance
    numbers = np.empty(len(names), np.int64)
    order = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")
    numbers[order] = np.arange(len(names))
    renumbered[labels >= 0] = numbers[codes]
    return renumbered
