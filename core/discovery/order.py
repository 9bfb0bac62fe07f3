"""The order of a clustered heatmap: rows, or columns, that are alike stand side by side.

Ward's linkage, whose tree is walked from left to right. It needs all distances, so of many points
an even sample is linked and the others stand beside the nearest of the sample.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

MOST = 2_000  # points that are linked: 16 MB of distances
BLOCK = 8_192

Floats = NDArray[np.float32]


def places(points: Floats, seed: int = 0) -> NDArray[np.int64]:
    """(point,) the place of each point of (point, feature), finite, along the heatmap, from 0."""
    n = len(points)
    if n < 3:
        return np.arange(n, dtype=np.int64)
    rng = np.random.default_rng(seed)
    sample = np.arange(n) if n <= MOST else np.sort(rng.choice(n, MOST, replace=False))
    leaf = np.empty(len(sample), np.int64)
    leaf[leaves_list(linkage(pdist(points[sample]), "ward"))] = np.arange(len(sample))
    nearest, gap = _nearest(points, points[sample]) if n > MOST else (sample, np.zeros(n))
    order = np.lexsort((gap, leaf[nearest]))
    found = np.empty(n, np.int64)
    found[order] = np.arange(n)
    return found


def _nearest(points: Floats, to: Floats) -> tuple[NDArray[np.int64], Floats]:
    """(point,) which of `to` is nearest, and how far it is, squared but for |point|²."""
    squares = np.einsum("ij,ij->i", to, to)
    rows, gaps = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        apart = squares[None] - 2 * points[part] @ to.T
        rows[part] = apart.argmin(axis=1)
        own = np.einsum("ij,ij->i", points[part], points[part])
        gaps[part] = apart.min(axis=1) + own
    return rows, gaps
