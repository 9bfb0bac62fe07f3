"""The clustered heatmap of prompts and pairs: leaf order and cell means.

Rows and columns are ordered so that similar ones are neighbors: along the leaves of Ward's linkage,
which needs all distances. Of many points a sample is linked, and each of the others follows its
nearest neighbor in the sample. Shown are means over equal cells of all rows and columns. Undefined
entries are left out of the means; a mean of none is NaN.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.discovery.matrix import Doubles, Floats, row_blocks
from core.geometry import nearest_neighbors

MOST_LINKED = 2_000  # points: 16 MB of distances
COLUMNS, ROWS = 600, 256  # most cells

Labels = NDArray[np.int64]


def leaf_order(points: Floats, seed: int = 0) -> Labels:
    """(point,) the place of each point of (point, feature), finite, along the heatmap, from 0."""
    from scipy.cluster.hierarchy import leaves_list, linkage  # 0.4 s, which no page needs
    from scipy.spatial.distance import pdist

    n = len(points)
    if n < 3:
        return np.arange(n, dtype=np.int64)
    rng = np.random.default_rng(seed)
    few = n <= MOST_LINKED
    sample = np.arange(n) if few else np.sort(rng.choice(n, MOST_LINKED, replace=False))
    leaf = np.empty(len(sample), np.int64)
    leaf[leaves_list(linkage(pdist(points[sample]), "ward"))] = np.arange(len(sample))
    nearest, gap = nearest_neighbors(points, points[sample], 1, same=few)
    places = np.empty(n, np.int64)
    places[np.lexsort((gap[:, 0], leaf[nearest[:, 0]]))] = np.arange(n)
    return places


def cells(places: Labels, most: int) -> Labels:
    """(point,) which of at most `most` equal cells contains a place; −1 for the place −1."""
    n = int(places.max(initial=-1)) + 1
    numbers: Labels = np.where(places >= 0, places * min(n, most) // max(n, 1), -1)
    return numbers


def cell_means(output: Path, rows: Labels, columns: Labels) -> Doubles:
    """(row cell, column cell) mean entry; `rows` (prompt,) and `columns` (pair,) are cells."""
    height, width = int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1
    total, n = np.zeros((height, width)), np.zeros((height, width))
    for place, block in row_blocks(output):
        for row, values in zip(rows[place], block, strict=True):
            used = (columns >= 0) & np.isfinite(values)
            if row >= 0:
                total[row] += np.bincount(columns[used], values[used], minlength=width)
                n[row] += np.bincount(columns[used], minlength=width)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def majority(labels: Labels, columns: Labels) -> Labels:
    """(cell,) the most frequent label of a cell's points; −1 where all are −1."""
    width, n = int(columns.max(initial=-1)) + 1, int(labels.max(initial=-1)) + 1
    counts = np.zeros((width, max(n, 1)), np.int64)
    used = (labels >= 0) & (columns >= 0)
    np.add.at(counts, (columns[used], labels[used]), 1)
    winners: Labels = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
    return winners
