"""Points on a plane: principal components, exact nearest neighbours, then UMAP.

Seeded, so the same matrix gives the same map. Neighbours are exact and handed to UMAP: its own
search would compile for half a minute in every process. Few points (fewer than UMAP can spread)
are laid out by their two largest components. Does not know what a point stands for.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
COMPONENTS = 10
BLOCK = 1024  # points whose distances to all others are in memory at once
FEWEST = 8  # points that UMAP is asked to lay out


def principal_components(points: Floats, most: int = COMPONENTS) -> Floats:
    """Coordinates of (point, feature) along the largest components, (point, ≤ most), centred."""
    mean = points.mean(axis=0, dtype=np.float64)
    centred = points - mean.astype(np.float32)
    if points.shape[1] <= points.shape[0]:
        _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        axes = axes[:, ::-1][:, :most]
    else:
        values, sides = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        keep = np.argsort(values)[::-1][:most]
        lengths = np.sqrt(np.maximum(values[keep], np.finfo(np.float32).tiny))
        axes = centred.T @ (sides[:, keep] / lengths)
    largest = np.abs(axes).argmax(axis=0)  # the sign of an axis is a convention: this one
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    coordinates: Floats = (centred @ axes).astype(np.float32)
    return coordinates


def nearest_neighbors(points: Floats, count: int) -> tuple[NDArray[np.int32], Floats]:
    """Indices and Euclidean distances of the `count` nearest points, each point itself first."""
    n = len(points)
    squares = np.einsum("ij,ij->i", points, points)
    indices = np.empty((n, count), np.int32)
    distances = np.empty((n, count), np.float32)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        gaps = squares[rows, None] + squares[None] - 2 * points[rows] @ points.T
        np.maximum(gaps, 0, out=gaps)
        gaps[np.arange(len(rows)), rows] = -1.0
        near = np.argpartition(gaps, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(gaps, near, axis=1), axis=1, kind="stable")
        indices[rows] = np.take_along_axis(near, order, axis=1)
        found = np.take_along_axis(gaps, indices[rows].astype(np.int64), axis=1)
        distances[rows] = np.sqrt(np.maximum(found, 0))
    return indices, distances


def project(
    points: Floats, *, neighbors: int, min_dist: float, seed: int, dimensions: int = 2
) -> Floats:
    """Lay out (point, feature), finite, on a plane (or in a space of few dimensions)."""
    start = _spread(principal_components(points, dimensions), dimensions)
    if len(points) < FEWEST or not np.ptp(points, axis=0).any():
        return start
    import umap  # 4 CPU-seconds: only where a map is made

    count = min(neighbors, len(points) - 1)
    known = nearest_neighbors(points, count)
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no transform of new points, one thread
        layout: Floats = umap.UMAP(
            n_neighbors=count,
            n_components=dimensions,
            min_dist=min_dist,
            init=start + rng.normal(scale=1e-3, size=start.shape).astype(np.float32),
            random_state=seed,
            precomputed_knn=(*known, None),
            force_approximation_algorithm=True,
        ).fit_transform(points)
    return np.asarray(layout, np.float32)


def _spread(coordinates: Floats, dimensions: int) -> Floats:
    """Exactly `dimensions` columns, scaled to the extent of ±10 that UMAP starts from."""
    missing = max(dimensions - coordinates.shape[1], 0)
    padded = np.pad(coordinates, ((0, 0), (0, missing)))
    extent = np.abs(padded).max(initial=0)
    return padded * np.float32(10 / extent) if extent > 0 else padded
