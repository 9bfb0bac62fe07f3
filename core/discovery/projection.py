"""Points on a plane: principal components, exact nearest neighbours, then UMAP.

Seeded, so the same points give the same map. Neighbours are exact and handed to UMAP: its own
search would compile for half a minute in every process. Few points (fewer than UMAP can spread)
are laid out by their two largest components. Of very many, a part is laid out and the others are
put among their nearest neighbours of that part, each group among its own. Does not know what a
point stands for.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.geometry import nearest_neighbors, principal_components
from core.runs.workers import Call, call_directly

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Report = Callable[[int, int], None]
FEWEST = 8  # points that UMAP is asked to lay out
AMONG = 3  # neighbours between which a point is put that was not laid out
UNNAMED = 0.2  # share of the laid-out points that those without a group get at most


class Placed(NamedTuple):
    """Places of all points, (point, 2), and which of them UMAP laid out itself."""

    place: Floats
    laid_out: Flags


def project(
    points: Floats,
    *,
    neighbors: int,
    min_dist: float,
    seed: int,
    groups: NDArray[np.integer] | None = None,
    most: int | None = None,
    call: Call = call_directly,
    report: Report | None = None,
) -> Placed:
    """Lay out (point, feature), finite, on a plane; at most `most` of them by UMAP itself.

    `groups` (point,), −1 for none, says what the laid-out part must represent. UMAP itself goes
    through `call`; `report(done, total)` counts points whose neighbours are known.
    """
    groups = np.full(len(points), -1) if groups is None else groups
    chosen = subset(groups, most, seed)
    part = points[chosen]
    start = _spread(principal_components(part, 2), 2)
    if len(part) < FEWEST or not np.ptp(part, axis=0).any():
        placed = start
    else:
        known = nearest_neighbors(part, part, min(neighbors, len(part) - 1), report, same=True)
        placed = call("laying out", umap_layout, part, start, known, min_dist=min_dist, seed=seed)
    place = np.empty((len(points), 2), np.float32)
    place[chosen] = placed
    for group in np.unique(groups[~chosen]):  # among its own: an island stays one
        own = groups == group
        near = own & chosen if (own & chosen).any() else chosen
        place[own & ~chosen] = _among(points[own & ~chosen], points[near], place[near], report)
    return Placed(place, chosen)


def subset(groups: NDArray[np.integer], most: int | None, seed: int) -> Flags:
    """Which points to lay out: all, or as many of each group as of any other, as far as they go."""
    if most is None or len(groups) <= most:
        return np.ones(len(groups), bool)
    random = np.random.default_rng(seed)
    names, sizes = np.unique(groups, return_counts=True)
    limits = np.where(names < 0, min(int(UNNAMED * most), most), sizes) if len(names) > 1 else sizes
    quota = _share_out(np.minimum(sizes, limits), most)
    chosen = np.zeros(len(groups), bool)
    for name, count in zip(names, quota, strict=True):
        members = np.flatnonzero(groups == name)
        chosen[random.choice(members, count, replace=False)] = True
    return chosen


@contextmanager
def _compiled() -> Iterator[None]:
    """What numba compiled lies in the workspace's cache, and may be damaged there."""
    import numba

    try:
        yield
    except (EOFError, UnpicklingError) as error:
        place = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        raise UserError(
            f"{place}: what numba compiled is damaged ({error}). Delete that folder, then run the "
            "same command again: it is compiled anew."
        ) from error


@cache
def _keep_compiled() -> None:
    """Have numba keep what UMAP would let it compile anew in each process: 5 CPU-seconds."""
    import umap
    from numba.extending import is_jitted

    for module in (umap.layouts, umap.umap_):
        for one in vars(module).values():
            if is_jitted(one):
                one.enable_caching()


def umap_layout(
    points: Floats,
    start: Floats,
    known: tuple[NDArray[np.int32], Floats],
    *,
    min_dist: float,
    seed: int,
) -> Floats:
    """UMAP's plane for points whose neighbours are known, from the places `start`."""
    random = np.random.default_rng(seed)
    with _compiled(), warnings.catch_warnings():
        import umap  # 4 CPU-seconds: only where a map is made

        _keep_compiled()
        warnings.simplefilter("ignore", UserWarning)  # no transform of new points, one thread
        layout: Floats = umap.UMAP(
            n_neighbors=known[0].shape[1],
            n_components=start.shape[1],
            min_dist=min_dist,
            init=start + random.normal(scale=1e-3, size=start.shape).astype(np.float32),
            random_state=seed,
            precomputed_knn=(*known, None),
            force_approximation_algorithm=True,
        ).fit_transform(points)
    return np.asarray(layout, np.float32)


def _among(points: Floats, laid_out: Floats, places: Floats, report: Report | None) -> Floats:
    """Between the places of the nearest laid-out points, the nearest weighing most."""
    count = min(AMONG, len(laid_out))
    indices, distances = nearest_neighbors(points, laid_out, count, report)
    weights = 1 / (distances**2 + np.float32(1e-8))
    weights /= weights.sum(axis=1, keepdims=True)
    between: Floats = np.einsum("pn,pnc->pc", weights, places[indices])
    return between


def _share_out(sizes: NDArray[np.integer], total: int) -> NDArray[np.int64]:
    """How many of each group make up about `total`: equally many, small groups whole."""
    low, high = 0, int(sizes.max(initial=0))
    while low < high:  # the largest quota whose sum fits
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if np.minimum(sizes, middle).sum() <= total else (low, middle - 1)
        )
    return np.minimum(sizes, low).astype(np.int64)


def _spread(coordinates: Floats, dimensions: int) -> Floats:
    """Exactly `dimensions` columns, scaled to the extent of ±10 that UMAP starts from."""
    missing = max(dimensions - coordinates.shape[1], 0)
    padded = np.pad(coordinates, ((0, 0), (0, missing)))
    extent = np.abs(padded).max(initial=0)
    return padded * np.float32(10 / extent) if extent > 0 else padded
