"""Geometry of vectors: lengths, cosines, principal components and nearest neighbors.

Vectors are rows. A cosine with a zero vector does not exist: it is NaN and stays NaN. Everything is
exact and deterministic. Does not know what a vector stands for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 16_000_000  # distances in memory at once: 64 MB, and twice that for their order

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Report = Callable[[int, int], None]


def norm(vectors: Floats) -> Floats:
    """Length of each row, (n,)."""
    lengths: Floats = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return lengths


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Rows scaled to length 1, (n, d) float32; rows of zeros become NaN."""
    single: Floats = np.asarray(vectors, np.float32)
    lengths = norm(single)
    lengths[lengths == 0] = np.nan
    return single / lengths[:, None]


def cosines(left: NDArray[np.floating], right: NDArray[np.floating]) -> Floats:
    """cos(left_i, right_j), (n_left, n_right), in [−1, 1]; NaN where a vector is zero."""
    values: Floats = np.clip(unit(left) @ unit(right).T, -1, 1)
    return values


def leading_eigenvectors(symmetric: NDArray[Any], most: int) -> tuple[Doubles, Doubles]:
    """Largest eigenvalues of a symmetric matrix, (≤ most,) descending, and their vectors, (n, k).

    The sign of an eigenvector is a convention: its largest entry is positive.
    """
    values, vectors = np.linalg.eigh(symmetric.astype(np.float64))
    return values[::-1][:most], signed(vectors[:, ::-1][:, :most])


def signed(axes: NDArray[Any]) -> NDArray[Any]:
    """Axes, (d, k), with signs by which the largest entry of each is positive."""
    largest = np.abs(axes).argmax(axis=0)
    return axes * np.sign(axes[largest, np.arange(axes.shape[1])])


def kernel_components(kernel: NDArray[Any], most: int) -> Doubles:
    """Points, (n, ≤ most), whose inner products are nearest to a kernel's, (n, n)."""
    values, vectors = leading_eigenvectors(kernel, most)
    return vectors * np.sqrt(np.maximum(values, 0))


def principal_components(points: Floats, most: int) -> Floats:
    """Coordinates of centred (point, feature) along the largest components, (point, ≤ most)."""
    centred = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)
    if points.shape[1] <= points.shape[0]:
        _, axes = leading_eigenvectors(centred.T @ centred, most)
    else:  # the smaller of the two kernels has the same components
        values, sides = leading_eigenvectors(centred @ centred.T, most)
        lengths = np.sqrt(np.maximum(values, np.finfo(np.float32).tiny))
        axes = signed(centred.T @ (sides / lengths))
    coordinates: Floats = (centred @ axes).astype(np.float32)
    return coordinates


def nearest_neighbors(
    points: Floats,
    among: Floats,
    count: int,
    report: Report | None = None,
    *,
    same: bool = False,
    at_once: int = BLOCK,
) -> tuple[NDArray[np.int32], Floats]:
    """Indices in `among` and Euclidean distances of each point's `count` nearest, nearest first.

    Both (n, count). With `same` the two are the same points, and each is its own first neighbor.
    At most `at_once` distances are in memory; `report(done, total)` counts points.
    """
    n = len(points)
    squares = np.einsum("ij,ij->i", among, among)
    lengths = np.einsum("ij,ij->i", points, points)
    indices = np.empty((n, count), np.int32)
    distances = np.empty((n, count), np.float32)
    rows_at_once = max(1, at_once // max(len(among), 1))
    for start in range(0, n, rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, n))
        gaps = lengths[rows, None] + squares[None] - 2 * points[rows] @ among.T
        np.maximum(gaps, 0, out=gaps)
        if same:
            gaps[np.arange(len(rows)), rows] = -1.0
        near = np.argpartition(gaps, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(gaps, near, axis=1), axis=1, kind="stable")
        indices[rows] = np.take_along_axis(near, order, axis=1)
        nearest = np.take_along_axis(gaps, indices[rows].astype(np.int64), axis=1)
        distances[rows] = np.sqrt(np.maximum(nearest, 0))
        if report is not None:
            report(int(rows[-1]) + 1, n)
    return indices, distances
