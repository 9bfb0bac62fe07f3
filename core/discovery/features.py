"""What places pairs and prompts on their maps.

A pair is placed by what it pushes: its direction over the kinds of prompts, beside (at half
weight) the direction of its column's largest principal components, which tells wordings apart
within a kind. A pair that acts on no kind is *unattributed*: it stays on the map, shrunk towards
the middle, and belongs to no cluster. A prompt is placed by the direction of its row over the
attributed pairs. Only directions count: which way, not how much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.discovery.matrix import Matrix
from core.discovery.prompt_clusters import Kinds
from core.geometry import kernel_components, leading_eigenvectors, norm

INNER = 0.3  # radius that unattributed pairs stay within; attributed ones are beyond 1
WITHIN = 0.5  # weight of the components beside the kinds
COMPONENTS = 10  # more of them tell formats apart before behaviors (docs/log.md)

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Features:
    """What places the defined pairs: points (pair, feature), and which are attributed."""

    points: Floats
    attributed: Flags


def pair_features(matrix: Matrix, kinds: Kinds) -> Features:
    """Directions of attributed pairs, and the others shrunk to within `INNER`."""
    attributed = kinds.hardest() >= 0
    pushes = np.maximum(kinds.push * kinds.strength[:, None], 0).T  # (pair, kind)
    columns = _directions(column_components(matrix))
    points = np.hstack([_directions(pushes), np.float32(WITHIN) * columns])
    limit = norm(points[~attributed]).max(initial=0)
    points[~attributed] *= np.float32(INNER / limit if limit > 0 else 1)
    return Features(points, attributed)


def column_components(matrix: Matrix) -> Floats:
    """Coordinates of the weighted columns along their largest components, (pair, ≤ 10)."""
    weights = matrix.weights[matrix.prompt_defined, None]
    n_rows = len(weights)
    total, square, count = np.zeros(n_rows), np.zeros((n_rows, n_rows)), 0
    for _, part in matrix.blocks():
        weighted = part * weights
        total += weighted.sum(axis=1, dtype=np.float64)
        square += weighted @ weighted.T
        count += part.shape[1]
    mean = total / max(count, 1)
    _, axes = leading_eigenvectors(square - count * np.outer(mean, mean), COMPONENTS)
    found = np.empty((count, axes.shape[1]), np.float32)
    for place, part in matrix.blocks():
        found[place] = (part * weights - mean[:, None]).T @ axes
    return found


def prompt_features(matrix: Matrix, attributed: Flags) -> Floats:
    """Coordinates of the rows' directions over the attributed pairs, (prompt, ≤ 10)."""
    alike = matrix.row_cosines(attributed).astype(np.float64)
    centred = alike - alike.mean(axis=0) - alike.mean(axis=1)[:, None] + alike.mean()
    return kernel_components(centred, COMPONENTS).astype(np.float32)


def _directions(points: Floats) -> Floats:
    """Rows of length 1; rows of zeros stay."""
    lengths = norm(np.ascontiguousarray(points))[:, None]
    return np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0)
