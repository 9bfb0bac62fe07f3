"""The paper's clustered heatmap: Ward's order of prompts and of pairs, small enough to draw.

Of many pairs, an even sample of the clusters is shown, in which small ones stay visible. Rows are
ordered by Ward's method on their likeness; columns by cluster, and within one by Ward's method
on their points. Undefined rows and columns are not shown.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist

from core.discovery.matrix import Matrix
from core.discovery.projection import subset

MOST_PAIRS = 1_000
MOST_PROMPTS = 400

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def heatmap(
    matrix: Matrix, points: Floats, labels: Labels, kinds: Labels, seed: int
) -> dict[str, NDArray[Any]]:
    """What heatmap.npz holds; `points` and `labels` are of the defined pairs, `kinds` of prompts.

    `values` (prompt, pair) in drawing order, `prompts` and `pairs` the rows of the discover run's
    tables that they are, `kinds` and `clusters` their groups, `prompt_tree` Ward's linkage of the
    rows before ordering by leaf.
    """
    shown = subset(labels, MOST_PAIRS, seed)
    if (labels >= 0).any():
        shown &= labels >= 0
    columns = np.flatnonzero(shown)
    columns = columns[_column_order(points[columns], labels[columns])]
    rows = np.flatnonzero(subset(kinds, MOST_PROMPTS, seed))
    order, tree = _row_order(matrix.alike[np.ix_(rows, rows)])
    rows = rows[order]
    mask = np.zeros(len(labels), bool)
    mask[columns] = True
    place = np.searchsorted(np.flatnonzero(mask), columns)
    return {
        "values": matrix.columns(mask)[rows][:, place],
        "prompts": np.flatnonzero(matrix.prompt_defined)[rows],
        "pairs": np.flatnonzero(matrix.pair_defined)[columns],
        "kinds": kinds[rows],
        "clusters": labels[columns],
        "prompt_tree": tree,
    }


def _row_order(alike: Floats) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    if len(alike) < 3:
        return np.arange(len(alike)), np.empty((0, 4))
    gaps = pdist(alike.astype(np.float64))
    tree = linkage(gaps, "ward")
    return leaves_list(optimal_leaf_ordering(tree, gaps)), tree


def _column_order(points: Floats, labels: Labels) -> NDArray[np.intp]:
    order = []
    for cluster in np.unique(labels):
        members = np.flatnonzero(labels == cluster)
        if len(members) > 2:
            members = members[leaves_list(linkage(pdist(points[members]), "ward"))]
        order.append(members)
    return np.concatenate(order) if order else np.empty(0, np.intp)
