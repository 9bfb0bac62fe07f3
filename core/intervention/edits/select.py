"""The pairs that a recipe selects, as one boolean per pair.

Everything is joined by uid, never by row number, so a ranking or a map still means the same pairs
after rows were filtered or reordered. A recipe that names a column, a cluster or a score that does
not exist is refused rather than read as "none". Knows nothing of actions.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.data import search
from core.data.pair_table import PairColumns
from core.errors import UserError
from core.runs.store import Store
from core.specs import recipes
from core.specs.behaviors import Score
from core.specs.steps import RankSpec
from core.storage.tables import columns as column_names
from core.storage.tables import table as read_table

WEIGHT = 0.25  # that weighting starts from
LEVELS = {"cluster": "cluster", "island": "HDBSCAN cluster"}  # a recipe's levels, in words
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
OnMap = recipes.InCluster | recipes.InPolygon | recipes.InBand
Pairs = pd.DataFrame | PairColumns  # columns by name; texts in memory, or on disk until asked for


def select(recipe: recipes.Recipe, pairs: Pairs, store: Store) -> Mask:
    """(pair,) True where the recipe selects the pair."""
    match recipe:
        case recipes.AllOf():
            return np.logical_and.reduce([select(part, pairs, store) for part in recipe.parts])
        case recipes.AnyOf():
            return np.logical_or.reduce([select(part, pairs, store) for part in recipe.parts])
        case recipes.NoneOf():
            return ~np.logical_or.reduce([select(part, pairs, store) for part in recipe.parts])
        case recipes.Where():
            texts = _column(pairs, recipe.column).astype(str)
            return texts.isin(recipe.values).to_numpy(dtype=bool)
        case recipes.Contains():
            return search.containing(_column(pairs, recipe.column), recipe.phrase)
        case recipes.Matches():
            return search.matching(_column(pairs, recipe.column), recipe.pattern)
        case recipes.BestWords():
            return search.best(_column(pairs, recipe.column), recipe.query, recipe.k)
        case recipes.HasLength():
            lengths = _lengths(pairs, recipe.column)
            return (lengths >= recipe.low) & (
                lengths <= (np.inf if recipe.high is None else recipe.high)
            )
        case recipes.TopK() | recipes.Above():
            return _by_uid(_of_ranking(recipe, store), pairs)
        case recipes.InCluster() | recipes.InPolygon() | recipes.InBand():
            return _by_uid(_on_map(recipe, store), pairs)


def inside(x: Floats, y: Floats, polygon_x: Sequence[float], polygon_y: Sequence[float]) -> Mask:
    """(point,) True inside the closed polygon, by the even-odd rule.

    A ray from the point to the right crosses the border an odd number of times. An edge includes
    its lower end and not its upper one, so that a ray through a corner counts once.
    """
    in_box = (x >= min(polygon_x)) & (x <= max(polygon_x))
    in_box &= (y >= min(polygon_y)) & (y <= max(polygon_y))
    near = np.flatnonzero(in_box)  # few of a large map's points
    x, y = x[near], y[near]
    odd = np.zeros(len(near), dtype=bool)
    ends = zip(polygon_x, polygon_y, np.roll(polygon_x, -1), np.roll(polygon_y, -1), strict=True)
    for x0, y0, x1, y1 in ends:
        if y0 != y1:
            crosses = (y0 <= y) != (y1 <= y)
            odd ^= crosses & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    in_box[near] = odd
    return in_box


def scores(run: str, store: Store, score: Score | None = None) -> pd.Series:
    """A ranking's defined scores by uid, highest first; ties in the ranking's order.

    Without a `score`, the one that the ranking is ordered by.
    """
    path = store.output(run) / "ranking.parquet"
    score = score or method_of(run, store)
    columns = {"uid", score} & set(column_names(path))
    values = read_table(path, columns=sorted(columns)).set_index("uid").get(score)
    if values is None or values.isna().all():
        raise UserError(f"{run} has no score {score!r}. Rank with that method, or use another.")
    return values.dropna().sort_values(ascending=False, kind="stable")


def curve_weights(curve: recipes.Curve, uids: pd.Series, store: Store) -> tuple[Floats, Floats]:
    """(uid,) scores of pairs, and their weights by a curve: 1 where a score is NaN."""
    values = scores(curve.rank, store, curve.score).reindex(uids).to_numpy(float)
    at, points = zip(*curve.points, strict=True)
    weights = np.interp(values, at, points)
    return values, np.nan_to_num(weights, nan=1.0)


def fading(rank: str, uids: Collection[str], store: Store) -> recipes.Curve:
    """Weights from 1 at the lowest score of some pairs to 0 at their median and above."""
    score = method_of(rank, store)
    low, middle, high = scores(rank, store, score).reindex(list(uids)).quantile([0, 0.5, 1])
    end = middle if middle > low else high
    if not end > low:
        raise UserError("these pairs have no two scores: choose one weight for all of them.")
    return recipes.Curve(rank=rank, score=score, points=((low, 1.0), (end, 0.0)))


def method_of(run: str, store: Store) -> Score:
    """The score that a ranking is ordered by."""
    return store.spec(run, RankSpec).method


def _of_ranking(recipe: recipes.TopK | recipes.Above, store: Store) -> pd.Index:
    values = scores(recipe.rank, store, recipe.score)
    if isinstance(recipe, recipes.TopK):
        return values.index[: recipe.k]
    return values.index[values >= recipe.threshold]


def _on_map(recipe: OnMap, store: Store) -> pd.Index:
    run, path = recipe.discover, store.output(recipe.discover) / "pairs.parquet"
    if isinstance(recipe, recipes.InPolygon):
        points = read_table(path, columns=["uid", "x", "y"])
        x, y = points["x"].to_numpy(dtype=float), points["y"].to_numpy(dtype=float)
        return pd.Index(points.loc[inside(x, y, recipe.x, recipe.y), "uid"])
    points = read_table(path)
    if isinstance(recipe, recipes.InBand):
        if "place" not in points:
            raise UserError(f"{run} has no heatmap. Run discover again.")
        return pd.Index(points.loc[points["place"].between(recipe.low, recipe.high), "uid"])
    level = LEVELS[recipe.level]
    if recipe.level not in points:
        raise UserError(f"{run} has no {level}s. Run discover again.")
    values = points[recipe.level]
    missing = set(recipe.clusters) - set(values) - {-1}  # a map may well have no noise
    if missing:
        labels = ", ".join(map(str, sorted(values.unique())))
        raise UserError(f"{run} has no {level} {min(missing)}. It has {labels}.")
    return pd.Index(points.loc[values.isin(recipe.clusters), "uid"])


def _by_uid(chosen: pd.Index, pairs: Pairs) -> Mask:
    if isinstance(pairs, pd.DataFrame):
        return pairs["uid"].isin(chosen).to_numpy(dtype=bool)
    selected = np.zeros(len(pairs), dtype=bool)
    rows = pairs.positions(chosen)  # its hash table is kept: 378k uids are hashed once
    selected[rows[rows >= 0]] = True
    return selected


def _lengths(pairs: Pairs, column: str) -> np.ndarray[Any, np.dtype[Any]]:
    """(pair,) characters of a text."""
    if isinstance(pairs, PairColumns):
        return pairs.lengths[column].to_numpy()
    return _column(pairs, column).str.len().to_numpy()


def _column(pairs: Pairs, name: str) -> pd.Series:
    if name not in pairs:
        names = ", ".join(map(str, pairs))
        raise UserError(f"the pairs have no column {name!r}. They have {names}.")
    return pairs[name]
