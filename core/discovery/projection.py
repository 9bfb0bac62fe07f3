"""UMAP embeddings of points in the plane, from principal components and exact neighbors.

The same points and seed give the same embedding. Neighbors are exact and passed to UMAP, whose own
search would compile for half a minute in every process. Fewer points than UMAP can embed get their
first two principal components. Of very many points a balanced sample is embedded; the others are
placed between their nearest neighbors in the sample, each group among its own. Does not know what
a point stands for.
"""

import warnings
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.geometry import nearest_neighbors, principal_components
from core.runs.progress import Report
from core.runs.workers import Call, call_directly

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
FEWEST = 8  # points that UMAP can embed
AMONG = 3  # neighbors between which a point outside the sample is placed
UNGROUPED = 0.2  # largest share of a sample that is in no group
EXTENT = 10  # of the coordinates that UMAP starts from


class Embedding(NamedTuple):
    """Coordinates of all points, (point, 2), and which of them UMAP embedded itself."""

    coordinates: Floats
    embedded: Flags


def embed(
    points: Floats,
    *,
    neighbors: int,
    min_dist: float,
    seed: int,
    groups: NDArray[np.integer] | None = None,
    most: int | None = None,
    call: Call = call_directly,
    report: Report | None = None,
) -> Embedding:
    """Embed (point, feature), finite, in the plane; at most `most` of them by UMAP itself.

    `groups` (point,), −1 for none, are what the sample must represent. UMAP itself goes through
    `call`; `report(done, total)` counts points whose neighbors are known.
    """
    groups = np.full(len(points), -1) if groups is None else groups
    sampled = balanced_sample(groups, most, seed)
    part = points[sampled]
    start = _start(part)
    if len(part) < FEWEST or not np.ptp(part, axis=0).any():
        embedded = start
    else:
        knn = nearest_neighbors(part, part, min(neighbors, len(part) - 1), report, same=True)
        embedded = call("embedding", run_umap, part, start, knn, min_dist=min_dist, seed=seed)
    coordinates = np.empty((len(points), 2), np.float32)
    coordinates[sampled] = embedded
    for group in np.unique(groups[~sampled]):
        members = groups == group
        near = members & sampled if (members & sampled).any() else sampled
        rest = members & ~sampled
        coordinates[rest] = _between(points[rest], points[near], coordinates[near], report)
    return Embedding(coordinates, sampled)


def balanced_sample(groups: NDArray[np.integer], most: int | None, seed: int) -> Flags:
    """(point,) which are sampled: all, or as many of each group as of any other, `most` at most.

    Groups smaller than that are sampled completely; −1, no group, gets at most `UNGROUPED`.
    """
    if most is None or len(groups) <= most:
        return np.ones(len(groups), bool)
    random = np.random.default_rng(seed)
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) > 1:
        sizes = np.where(names < 0, np.minimum(sizes, min(int(UNGROUPED * most), most)), sizes)
    quotas = range(int(sizes.max()) + 1)
    quota = bisect_right(quotas, most, key=lambda q: np.minimum(sizes, q).sum()) - 1
    sampled = np.zeros(len(groups), bool)
    for name, size in zip(names, np.minimum(sizes, quota), strict=True):
        sampled[random.choice(np.flatnonzero(groups == name), size, replace=False)] = True
    return sampled


def run_umap(
    points: Floats,
    start: Floats,
    knn: tuple[NDArray[np.int32], Floats],
    *,
    min_dist: float,
    seed: int,
) -> Floats:
    """UMAP coordinates of points with given neighbors, from the coordinates `start`."""
    random = np.random.default_rng(seed)
    with _compiled(), warnings.catch_warnings():
        import umap  # 4 CPU-seconds: only where a map is made

        _cache_compiled()
        warnings.simplefilter("ignore", UserWarning)  # no transform of new points, one thread
        embedded: Floats = umap.UMAP(
            n_neighbors=knn[0].shape[1],
            n_components=start.shape[1],
            min_dist=min_dist,
            init=start + random.normal(scale=1e-3, size=start.shape).astype(np.float32),
            random_state=seed,
            precomputed_knn=(*knn, None),
            force_approximation_algorithm=True,
        ).fit_transform(points)
    return np.asarray(embedded, np.float32)


@contextmanager
def _compiled() -> Iterator[None]:
    """Explain that numba's cache, a folder of the workspace, is damaged."""
    import numba

    try:
        yield
    except (EOFError, UnpicklingError) as error:
        folder = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        raise UserError(
            f"{folder}: numba's compiled code is damaged ({error}). Delete that folder, then run "
            "the same command again: it is compiled again."
        ) from error


@cache
def _cache_compiled() -> None:
    """Let numba cache what UMAP would compile in each process: 5 CPU-seconds."""
    import umap
    from numba.extending import is_jitted

    for module in (umap.layouts, umap.umap_):
        for function in vars(module).values():
            if is_jitted(function):
                function.enable_caching()


def _start(points: Floats) -> Floats:
    """Two columns of principal components, padded with 0, scaled to ±`EXTENT`."""
    components = principal_components(points, 2)
    padded = np.pad(components, ((0, 0), (0, max(2 - components.shape[1], 0))))
    largest = np.abs(padded).max(initial=0)
    return padded * np.float32(EXTENT / largest) if largest > 0 else padded


def _between(points: Floats, near: Floats, coordinates: Floats, report: Report | None) -> Floats:
    """Mean of the nearest neighbors' coordinates, weighted by 1 / squared distance."""
    indices, distances = nearest_neighbors(points, near, min(AMONG, len(near)), report)
    weights = 1 / (distances**2 + np.float32(1e-8))
    weights /= weights.sum(axis=1, keepdims=True)
    means: Floats = np.einsum("pn,pnc->pc", weights, coordinates[indices])
    return means
