"""Recipes and edits in words."""

from collections.abc import Iterable, Mapping

from core.specs.behaviors import SCORE_NAMES, Score
from core.specs.recipes import (
    Above,
    AllOf,
    AnyOf,
    BestWords,
    Contains,
    Edit,
    HasLength,
    InBand,
    InCluster,
    InPolygon,
    Matches,
    NoneOf,
    Recipe,
    TopK,
    Where,
)

CLUSTER_NAMES = {"cluster": "cluster", "island": "HDBSCAN cluster"}
LISTED = 6  # values that a description names before it counts the rest


def describe_recipe(recipe: Recipe, behaviors: Mapping[str, str] | None = None) -> str:
    """A recipe as one phrase; `behaviors` maps rank runs to the behavior that they rank for."""
    match recipe:
        case TopK(k=k, score=score):
            return f"the top {k:,} pairs for {_behavior(recipe.rank, behaviors)} by {_score(score)}"
        case Above(threshold=threshold, score=score):
            name = _behavior(recipe.rank, behaviors)
            return f"pairs for {name} with {_score(score)} ≥ {threshold:.3g}"
        case Where(column=column, values=values):
            if _is_long_list(recipe):
                return f"{len(values):,} pairs listed by uid"
            return f"pairs whose {column} is {_listed(values)}"
        case Contains(column=column, phrase=phrase):
            return f"pairs whose {column} contains “{phrase}”"
        case Matches(column=column, pattern=pattern):
            return f"pairs whose {column} matches /{pattern}/"
        case BestWords(column=column, query=query, k=k):
            return f"the {k:,} pairs whose {column} best matches the words “{query}” (BM25)"
        case HasLength(column=column, low=low, high=high):
            limit = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"
            return f"pairs whose {column} has {limit} characters"
        case InCluster(clusters=(-1,), level=level):
            return f"pairs in no {CLUSTER_NAMES[level]}"
        case InCluster(clusters=clusters, level=level):
            plural = "s" * (len(clusters) > 1)
            return f"pairs of {CLUSTER_NAMES[level]}{plural} {_listed(clusters)}"
        case InPolygon(x=x):
            return f"pairs inside a region of the map ({len(x)} corners)"
        case InBand(low=low, high=high):
            return f"pairs {low:,} to {high:,} across the heatmap"
        case AllOf(parts=parts):
            return " and ".join(_nested(part, behaviors) for part in parts)
        case AnyOf(parts=parts):
            return " or ".join(_nested(part, behaviors) for part in parts)
        case NoneOf(parts=parts):
            return "all pairs except " + " and except ".join(
                _nested(part, behaviors) for part in parts
            )
    raise TypeError(f"{type(recipe).__name__} is not a recipe")


def describe_edit(edit: Edit, behaviors: Mapping[str, str] | None = None) -> str:
    """An edit as a phrase: its action, then its recipe, or its reason if that lists many uids."""
    because = edit.why if _is_long_list(edit.recipe) else ""
    pairs = because or describe_recipe(edit.recipe, behaviors)
    if edit.rewrite:
        return f"rewrite {edit.rewrite.side} of {pairs}"
    if edit.relabel:
        prefer = ", ".join(edit.relabel.prefer)
        return f"relabel {pairs} where the judge's majority prefers rejected ({prefer})"
    if edit.curve:
        points = ", ".join(f"{weight:g} at {score:.3g}" for score, weight in edit.curve.points)
        name = _behavior(edit.curve.rank, behaviors)
        return f"weight by {_score(edit.curve.score)} for {name} ({points}) {pairs}"
    times = "" if edit.weight is None else f" × {edit.weight:g}"
    return f"{edit.action}{times} {pairs}"


def _score(score: Score | None) -> str:
    return SCORE_NAMES[score] if score else "attribution"


def _behavior(rank: str, behaviors: Mapping[str, str] | None) -> str:
    return (behaviors or {}).get(rank, rank)


def _nested(part: Recipe, behaviors: Mapping[str, str] | None) -> str:
    phrase = describe_recipe(part, behaviors)
    return f"({phrase})" if isinstance(part, AllOf | AnyOf | NoneOf) else phrase


def _is_long_list(recipe: Recipe) -> bool:
    return isinstance(recipe, Where) and recipe.column == "uid" and len(recipe.values) > LISTED


def _listed(values: Iterable[object]) -> str:
    names = [*map(str, values)]
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
