"""Which pairs a recipe selects: a recipe and the pairs in, one boolean per pair out.

Everything is joined by uid, never by row number, so a ranking or a map still means the same pairs
after rows were filtered or put in another order. A recipe that names something that is not there
(a column, a cluster, a score) is refused rather than read as "none". Knows nothing of actions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.data import search
from core.data.pair_table import PairColumns
from core.errors import UserError
from core.runs.store import Store
from core.specs.behaviors import Score
from core.specs.recipes import (
    Above,
    AllOf,
    AnyOf,
    BestWords,
    Contains,
    InBand,
    InCluster,
    InPolygon,
    Matches,
    NoneOf,
    Recipe,
    TopK,
    Where,
)
from core.specs.steps import RankSpec
from core.storage.tables import columns as column_names
from core.storage.tables import table as read_table

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Pairs = pd.DataFrame | PairColumns  # columns by name; texts in memory, or on disk until asked for


def select(recipe: Recipe, pairs: Pairs, store: Store) -> Mask:
    """(pair,) True where the recipe selects the pair."""
    match recipe:
        case AllOf():
            return np.logical_and.reduce([select(part, pairs, store) for part in recipe.parts])
        case AnyOf():
            return np.logical_or.reduce([select(part, pairs, store) for part in recipe.parts])
        case NoneOf():
            return ~np.logical_or.reduce([select(part, pairs, store) for part in recipe.parts])
        case Where():
            texts = _column(pairs, recipe.column).astype(str)
            return texts.isin(recipe.values).to_numpy(dtype=bool)
        case Contains():
            return search.containing(_column(pairs, recipe.column), recipe.phrase)
        case Matches():
            return search.matching(_column(pairs, recipe.column), recipe.pattern)
        case BestWords():
            return search.best(_column(pairs, recipe.column), recipe.query, recipe.k)
        case TopK() | Above():
            chosen = _top(recipe, store) if isinstance(recipe, TopK) else _above(recipe, store)
            return _by_uid(chosen, pairs)
        case InCluster() | InPolygon() | InBand():
            return _by_uid(_on_map(recipe, pairs, store), pairs)


def inside(x: Floats, y: Floats, polygon_x: Sequence[float], polygon_y: Sequence[float]) -> Mask:
    """(point,) True where a point lies in the closed polygon, by the even-odd rule.

    A ray from the point to the right crosses the border an odd number of times. An edge holds its
    lower end and not its upper one, so that a ray through a corner counts once.
    """
    near = np.flatnonzero(
        (x >= min(polygon_x))
        & (x <= max(polygon_x))
        & (y >= min(polygon_y))
        & (y <= max(polygon_y))
    )  # most points of a large map lie outside the box around a lasso
    within = np.zeros(len(x), dtype=bool)
    within[near] = _inside(x[near], y[near], polygon_x, polygon_y)
    return within


def _inside(x: Floats, y: Floats, polygon_x: Sequence[float], polygon_y: Sequence[float]) -> Mask:
    within = np.zeros(len(x), dtype=bool)
    ends = zip(polygon_x, polygon_y, np.roll(polygon_x, -1), np.roll(polygon_y, -1), strict=True)
    for x0, y0, x1, y1 in ends:
        spans = (y0 <= y) != (y1 <= y)
        if y0 != y1:
            within ^= spans & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return within


def scores(run: str, store: Store, score: Score | None = None) -> pd.Series:
    """A ranking's defined scores by uid, highest first; ties in the ranking's order.

    Without a `score`, the one that the ranking is ordered by.
    """
    path = store.output(run) / "ranking.parquet"
    score = score or method_of(run, store)
    known = score in column_names(path)
    ranking = read_table(path, columns=["uid", score] if known else ["uid"])
    if not known or ranking[score].isna().all():
        raise UserError(f"{run} has no score {score!r}. Rank with that method, or use another.")
    found = ranking.set_index("uid")[score].dropna()
    return found.sort_values(ascending=False, kind="stable")


def method_of(run: str, store: Store) -> Score:
    """The score that a ranking is ordered by."""
    return store.spec(run, RankSpec).method


def _top(recipe: TopK, store: Store) -> pd.Index:
    return scores(recipe.rank, store, recipe.score).index[: recipe.k]


def _above(recipe: Above, store: Store) -> pd.Index:
    found = scores(recipe.rank, store, recipe.score)
    return found.index[found >= recipe.threshold]


def _on_map(recipe: InCluster | InPolygon | InBand, pairs: Pairs, store: Store) -> pd.Index:
    path = store.output(recipe.discover) / "pairs.parquet"
    if isinstance(recipe, InPolygon):
        points = read_table(path, columns=["uid", "x", "y"])
        x, y = points["x"].to_numpy(dtype=float), points["y"].to_numpy(dtype=float)
        return pd.Index(points.loc[inside(x, y, recipe.x, recipe.y), "uid"])
    if isinstance(recipe, InBand):
        points = read_table(path)
        if "place" not in points:
            raise UserError(f"{recipe.discover} has no heatmap. Run discover again.")
        return pd.Index(points.loc[points["place"].between(recipe.low, recipe.high), "uid"])
    points = read_table(path)
    if recipe.level not in points:
        raise UserError(f"{recipe.discover} tells no {recipe.level}s. Run discover again.")
    groups = points[recipe.level]
    gone = set(recipe.clusters) - set(groups) - {-1}  # a map may well have no noise
    if gone:
        known = ", ".join(map(str, sorted(groups.unique())))
        raise UserError(f"{recipe.discover} has no {recipe.level} {min(gone)}. It has {known}.")
    return pd.Index(points.loc[groups.isin(recipe.clusters), "uid"])


def _by_uid(chosen: pd.Index, pairs: Pairs) -> Mask:
    if isinstance(pairs, pd.DataFrame):
        return pairs["uid"].isin(chosen).to_numpy(dtype=bool)
    found = np.zeros(len(pairs), dtype=bool)
    rows = pairs.positions(chosen)  # its hash table is kept: 378k uids are compared once
    found[rows[rows >= 0]] = True
    return found


def _column(pairs: Pairs, name: str) -> pd.Series:
    if name not in pairs:
        known = ", ".join(map(str, pairs))
        raise UserError(f"the pairs have no column {name!r}. They have {known}.")
    return pairs[name]
