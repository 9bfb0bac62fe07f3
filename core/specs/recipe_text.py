"""Recipes in words: which pairs an edit selects, said so that a person can check it.

Knows nothing of pairs; a rank run is named by its behavior where the caller knows it.
"""

from collections.abc import Mapping

from core.specs.recipes import (
    Above,
    AllOf,
    AnyOf,
    BestWords,
    Contains,
    Edit,
    InBand,
    InCluster,
    InPolygon,
    Matches,
    NoneOf,
    Recipe,
    TopK,
    Where,
)
from core.specs.scores import IN_WORDS, Score

MANY = 6  # values named one by one before the rest is counted


def words(recipe: Recipe, behaviors: Mapping[str, str] | None = None) -> str:
    """One phrase; `behaviors` maps rank runs to the behavior that they rank for."""
    match recipe:
        case TopK(k=k, score=score):
            return f"the top {k:,} pairs for {_behavior(recipe.rank, behaviors)} by {_score(score)}"
        case Above(threshold=threshold, score=score):
            named = _behavior(recipe.rank, behaviors)
            return f"pairs for {named} with {_score(score)} ≥ {threshold:.3g}"
        case Where(column=column, values=values):
            return f"pairs whose {column} is {_listed(values)}"
        case Contains(column=column, phrase=phrase):
            return f"pairs whose {column} contains “{phrase}”"
        case Matches(column=column, pattern=pattern):
            return f"pairs whose {column} matches /{pattern}/"
        case BestWords(column=column, query=query, k=k):
            return f"the {k:,} pairs whose {column} best answers the words “{query}” (BM25)"
        case InCluster(clusters=(-1,), level=level):
            return f"pairs in no {level}"
        case InCluster(clusters=clusters, level=level):
            noun = level if len(clusters) == 1 else f"{level}s"
            return f"pairs of {noun} {_listed(map(str, clusters))}"
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


def edit_words(edit: Edit, behaviors: Mapping[str, str] | None = None) -> str:
    """An edit as an order: remove, flip or keep, and what."""
    return f"{edit.action} {words(edit.recipe, behaviors)}"


def _score(score: Score | None) -> str:
    return IN_WORDS[score] if score else "attribution"


def _behavior(rank: str, behaviors: Mapping[str, str] | None) -> str:
    return (behaviors or {}).get(rank, rank)


def _nested(part: Recipe, behaviors: Mapping[str, str] | None) -> str:
    said = words(part, behaviors)
    return f"({said})" if isinstance(part, AllOf | AnyOf | NoneOf) else said


def _listed(values: object) -> str:
    named = [str(value) for value in values]  # type: ignore[attr-defined]
    rest = len(named) - MANY
    return ", ".join(named[:MANY]) + (f" and {rest} more" if rest > 0 else "")
