"""The paper's clustered heatmap: Ward's order of prompts and of pairs, small enough to draw.

Of many pairs, an even sample of the clusters is shown, in which small ones stay visible. Rows are
ordered by Ward's method on their likeness; columns by cluster, and within one by Ward's method
on their points. Undefined rows and columns are not shown.

The order of a clustered heatmap: rows, or columns, that are alike stand side by side.

Ward's linkage, whose tree is walked from left to right. It needs all distances, so of many points
an even sample is linked and the others stand beside the nearest of the sample.

The matrix of prompts and pairs as one small picture: mean similarities, alike beside alike.

Rows are prompts and columns pairs, both in the order that a discover run found (`place`); columns
(and rows, where there are many) are averaged over neighbors. Undefined entries are left out of the
means, a mean of none is NaN and drawn as nothing. Knows nothing of clusters or gestures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist

from core.discovery import raster
from core.discovery.matrix import Matrix
from core.discovery.projection import subset
from core.geometry import nearest_neighbors
from core.storage.tables import array

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


MOST = 2_000  # points that are linked: 16 MB of distances


def places(points: Floats, seed: int = 0) -> NDArray[np.int64]:
    """(point,) the place of each point of (point, feature), finite, along the heatmap, from 0."""
    n = len(points)
    if n < 3:
        return np.arange(n, dtype=np.int64)
    rng = np.random.default_rng(seed)
    sample = np.arange(n) if n <= MOST else np.sort(rng.choice(n, MOST, replace=False))
    leaf = np.empty(len(sample), np.int64)
    leaf[leaves_list(linkage(pdist(points[sample]), "ward"))] = np.arange(len(sample))
    nearest, gap = nearest_neighbors(points, points[sample], 1, same=n <= MOST)
    order = np.lexsort((gap[:, 0], leaf[nearest[:, 0]]))
    found = np.empty(n, np.int64)
    found[order] = np.arange(n)
    return found


COLUMNS, ROWS = 600, 256  # cells at most
FADED = 0.22  # opacity of columns that are not selected
PROMPT_BLOCK = 16  # prompts in memory at once: 24 MB of 378k pairs

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


def cells(place: Ints, most: int) -> Ints:
    """(point,) which of at most `most` equal cells holds a place; −1 where there is no place."""
    n = int(place.max(initial=-1)) + 1
    found: Ints = np.where(place >= 0, place * min(n, most) // max(n, 1), -1)
    return found


def means(output: Path, rows: Ints, columns: Ints) -> Doubles:
    """(row cell, column cell) mean entry; `rows` (prompt,) and `columns` (pair,) are cells."""
    matrix = array(output / "matrix.npy")
    height, width = int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1
    total, n = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(matrix), PROMPT_BLOCK):
        for row, values in enumerate(matrix[start : start + PROMPT_BLOCK], start):
            known = (columns >= 0) & np.isfinite(values)
            if rows[row] >= 0:
                total[rows[row]] += np.bincount(columns[known], values[known], minlength=width)
                n[rows[row]] += np.bincount(columns[known], minlength=width)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def picture(
    values: Doubles, *, limit: float, shown: NDArray[np.bool_], colors: Sequence[str]
) -> str:
    """A PNG as a data address: `values` from −limit to limit on a scale; columns not `shown` fade.

    The first row is at the bottom.
    """
    step = np.rint((np.clip(values / limit, -1, 1) + 1) / 2 * (len(colors) - 1))
    pixels = 1 + np.nan_to_num(step).astype(np.int64) + np.where(shown, 0, len(colors))[None]
    pixels[np.isnan(values)] = 0
    palette = [("#000000", 0.0), *((color, 1.0) for color in colors)]
    palette += [(color, FADED) for color in colors]
    return raster.png(pixels[::-1].astype(np.uint8), palette)


def strip(kinds: Ints, colors: Sequence[str], *, upright: bool = False) -> str:
    """A PNG one cell thick: the color of each cell's kind, nothing for −1."""
    pixels = (kinds + 1).astype(np.uint8)
    palette = [("#000000", 0.0), *((color, 1.0) for color in colors)]
    return raster.png(pixels[::-1, None] if upright else pixels[None], palette)


def most_frequent(kinds: Ints, columns: Ints) -> Ints:
    """(cell,) the kind that most points of a cell are of; −1 where none has one."""
    width, n = int(columns.max(initial=-1)) + 1, int(kinds.max(initial=-1)) + 1
    known = (kinds >= 0) & (columns >= 0)
    counts = np.bincount(columns[known] * max(n, 1) + kinds[known], minlength=width * max(n, 1))
    table = counts.reshape(width, max(n, 1))
    found: Ints = np.where(table.any(axis=1), table.argmax(axis=1), -1)
    return found
