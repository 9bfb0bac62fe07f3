"""Feature vectors by which pairs and prompts are placed on their maps.

A pair's features are its direction over the prompt clusters (its scores, scaled to length 1) and,
at half weight, the direction of its column's leading principal components, which separates wordings
within a prompt cluster. A pair that acts on no prompt cluster is *unattributed*: its features are
shrunk towards the middle, and it belongs to no cluster. A prompt's features are the direction of
its row over the attributed pairs. Lengths are dropped: how strong an effect is does not count.
"""

from dataclasses import dataclass

import numpy as np

from core.discovery.matrix import Flags, Floats, Matrix
from core.discovery.prompt_clusters import PromptClusters
from core.geometry import kernel_components, leading_eigenvectors, norm

INNER = 0.3  # radius that unattributed pairs stay within; attributed ones are beyond 1
WITHIN = 0.5  # weight of the components beside the prompt clusters
COMPONENTS = 10  # more of them separate formats before behaviors (docs/experiments/discovery.md)


@dataclass(frozen=True)
class Features:
    """Features of the defined pairs, (pair, feature), and which of them are attributed."""

    points: Floats
    attributed: Flags


def pair_features(matrix: Matrix, clusters: PromptClusters) -> Features:
    """Directions of attributed pairs, and the others shrunk to within `INNER`."""
    attributed = clusters.strongest() >= 0
    effects = np.maximum(clusters.scores * clusters.strength[:, None], 0).T  # (pair, cluster)
    columns = _directions(column_components(matrix))
    points = np.hstack([_directions(effects), np.float32(WITHIN) * columns])
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
    coordinates = np.empty((count, axes.shape[1]), np.float32)
    for place, part in matrix.blocks():
        coordinates[place] = (part * weights - mean[:, None]).T @ axes
    return coordinates


def prompt_features(matrix: Matrix, attributed: Flags) -> Floats:
    """Coordinates of the rows' directions over the attributed pairs, (prompt, ≤ 10)."""
    cosines = matrix.row_cosines(attributed).astype(np.float64)
    centred = cosines - cosines.mean(axis=0) - cosines.mean(axis=1)[:, None] + cosines.mean()
    return kernel_components(centred, COMPONENTS).astype(np.float32)


def _directions(points: Floats) -> Floats:
    """Rows of length 1; rows of zeros stay."""
    lengths = norm(np.ascontiguousarray(points))[:, None]
    return np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0)
