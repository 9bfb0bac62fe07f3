"""Both directions of the map's link: what chosen pairs push, and what pushes chosen prompts.

Means over rows or columns of the matrix that a discover run left on disk, read where it lies.
Undefined similarities are left out; a mean of none is NaN. Knows nothing of places or clusters.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.runs.tables import array

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
ROWS = 32  # prompts at a time: 48 MB for 378k pairs


def on_prompts(output: Path, pairs: Mask) -> Floats:
    """(prompt,) mean similarity of the chosen pairs, (pair,) a mask, to each prompt."""
    matrix = _matrix(output)
    parts = [_mean(matrix[start : start + ROWS][:, pairs], 1) for start in _starts(matrix)]
    return np.concatenate(parts)


def by_pairs(output: Path, prompts: Mask) -> Floats:
    """(pair,) mean similarity of each pair to the chosen prompts, (prompt,) a mask."""
    matrix = _matrix(output)
    total, n = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], np.int64)
    for start in _starts(matrix):
        rows = matrix[start : start + ROWS][prompts[start : start + ROWS]]
        defined = ~np.isnan(rows)
        total += np.where(defined, rows, 0).sum(0)
        n += defined.sum(0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _matrix(output: Path) -> Any:
    """(prompt, pair), on disk."""
    return array(output / "matrix.npy")


def _starts(matrix: Any) -> range:
    return range(0, matrix.shape[0], ROWS)


def _mean(values: Any, axis: int) -> Floats:
    defined = ~np.isnan(values)
    n = defined.sum(axis)
    total = np.where(defined, values, 0).sum(axis, dtype=np.float64)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
