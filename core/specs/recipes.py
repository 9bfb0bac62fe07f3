"""Recipes: which pairs an edit selects, as a filter that can be replayed and read.

A recipe is a small tree: leaves name the top of a ranking, a cluster, a region of a map, or the
value of a column; `all_of`, `any_of` and `none_of` combine them. An `Edit` adds what is done to the
pairs. Knows no pairs: `intervention.edits.select` evaluates recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, TypeAdapter, ValidationError

from core.errors import UserError, first_problem
from core.specs.base import Record
from core.specs.behaviors import SCORE_NAMES, Score
from core.storage.parse import from_json

Action = Literal["remove", "flip", "keep"]
Join = Literal["and", "or", "but not"]
CLUSTER_NAMES = {"cluster": "cluster", "island": "HDBSCAN cluster"}
LISTED = 6  # values that a description names before it counts the rest


class _Node(Record):
    def runs(self) -> list[str]:
        """Ids of the runs that the recipe reads, those of its parts included."""
        runs = [getattr(self, name) for name in ("rank", "discover") if hasattr(self, name)]
        parts: list[_Node] = list(getattr(self, "parts", ()))
        return runs + [run for part in parts for run in part.runs()]


class TopK(_Node):
    """The k pairs that a ranking puts first."""

    kind: Literal["top_k"] = "top_k"
    rank: str = Field(description="rank run")
    k: PositiveInt = Field(description="pairs")
    score: Score | None = Field(None, description="default: the score that orders the ranking")


class Above(_Node):
    """The pairs whose score in a ranking is at least a threshold."""

    kind: Literal["above"] = "above"
    rank: str = Field(description="rank run")
    threshold: float
    score: Score | None = Field(None, description="default: the score that orders the ranking")


class Where(_Node):
    """The pairs with one of these values in a column (source, chosen_model, uid, …)."""

    kind: Literal["where"] = "where"
    column: str
    values: tuple[str, ...] = Field(min_length=1)


class Contains(_Node):
    """The pairs in which a column's text contains a phrase, whatever its case."""

    kind: Literal["contains"] = "contains"
    column: Literal["prompt", "chosen", "rejected"]
    phrase: str = Field(min_length=1)


class Matches(_Node):
    """The pairs in which a column's text matches a regular expression (RE2: linear time)."""

    kind: Literal["matches"] = "matches"
    column: Literal["prompt", "chosen", "rejected"]
    pattern: str = Field(min_length=1)


class BestWords(_Node):
    """The k pairs whose text in a column matches a query best by BM25; fewer if fewer match."""

    kind: Literal["best_words"] = "best_words"
    column: Literal["prompt", "chosen", "rejected"]
    query: str = Field(min_length=1)
    k: PositiveInt = Field(description="pairs")


class InCluster(_Node):
    """The pairs of clusters of one discover run; level `island`: of its HDBSCAN clusters."""

    kind: Literal["in_cluster"] = "in_cluster"
    discover: str = Field(description="discover run")
    clusters: tuple[int, ...] = Field(min_length=1)
    level: Literal["cluster", "island"] = "cluster"


class InPolygon(_Node):
    """The pairs inside a closed polygon on a discover run's map."""

    kind: Literal["in_polygon"] = "in_polygon"
    discover: str = Field(description="discover run")
    x: tuple[float, ...] = Field(min_length=3)
    y: tuple[float, ...] = Field(min_length=3)


class InBand(_Node):
    """The pairs at positions low to high of a discover run's heatmap, both included."""

    kind: Literal["in_band"] = "in_band"
    discover: str = Field(description="discover run")
    low: int = Field(ge=0)
    high: int = Field(ge=0)


class AllOf(_Node):
    """The pairs in every one of the parts."""

    kind: Literal["all_of"] = "all_of"
    parts: tuple[Recipe, ...] = Field(min_length=1)


class AnyOf(_Node):
    """The pairs in at least one of the parts."""

    kind: Literal["any_of"] = "any_of"
    parts: tuple[Recipe, ...] = Field(min_length=1)


class NoneOf(_Node):
    """The pairs in none of the parts."""

    kind: Literal["none_of"] = "none_of"
    parts: tuple[Recipe, ...] = Field(min_length=1)


Recipe = Annotated[
    TopK
    | Above
    | Where
    | Contains
    | Matches
    | BestWords
    | InCluster
    | InPolygon
    | InBand
    | AllOf
    | AnyOf
    | NoneOf,
    Field(discriminator="kind"),
]


class Edit(_Node):
    """What is done to the pairs of one recipe, and why."""

    action: Action
    recipe: Recipe
    why: str = ""


for _model in (AllOf, AnyOf, NoneOf, Edit):
    _model.model_rebuild()


def read_edits(text: str) -> tuple[Edit, ...]:
    """The edits of a JSON list. `UserError` says what is wrong with it."""
    try:
        return TypeAdapter(tuple[Edit, ...]).validate_python(from_json(text))
    except ValidationError as error:
        raise UserError(f"edits: {first_problem(error)}.") from error
    except ValueError as error:
        raise UserError(f"edits: not JSON ({error}).") from error


def combined(join: Join, recipes: Sequence[Recipe]) -> Recipe:
    """One recipe of several; `but not`: the pairs of the first that are in none of the others."""
    first, *others = recipes
    if not others:
        return first
    if join == "or":
        return AnyOf(parts=tuple(recipes))
    if join == "and":
        return AllOf(parts=tuple(recipes))
    return AllOf(parts=(first, NoneOf(parts=tuple(others))))


def describe_recipe(recipe: Recipe, behaviors: Mapping[str, str] | None = None) -> str:
    """A recipe as one phrase; `behaviors` maps rank runs to the behavior that they rank for."""
    match recipe:
        case TopK(k=k, score=score):
            return f"the top {k:,} pairs for {_behavior(recipe.rank, behaviors)} by {_score(score)}"
        case Above(threshold=threshold, score=score):
            name = _behavior(recipe.rank, behaviors)
            return f"pairs for {name} with {_score(score)} ≥ {threshold:.3g}"
        case Where(column=column, values=values):
            return f"pairs whose {column} is {_listed(values)}"
        case Contains(column=column, phrase=phrase):
            return f"pairs whose {column} contains “{phrase}”"
        case Matches(column=column, pattern=pattern):
            return f"pairs whose {column} matches /{pattern}/"
        case BestWords(column=column, query=query, k=k):
            return f"the {k:,} pairs whose {column} best matches the words “{query}” (BM25)"
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
    """An edit as a phrase: its action, then its recipe."""
    return f"{edit.action} {describe_recipe(edit.recipe, behaviors)}"


def _score(score: Score | None) -> str:
    return SCORE_NAMES[score] if score else "attribution"


def _behavior(rank: str, behaviors: Mapping[str, str] | None) -> str:
    return (behaviors or {}).get(rank, rank)


def _nested(part: Recipe, behaviors: Mapping[str, str] | None) -> str:
    phrase = describe_recipe(part, behaviors)
    return f"({phrase})" if isinstance(part, AllOf | AnyOf | NoneOf) else phrase


def _listed(values: Iterable[object]) -> str:
    names = [*map(str, values)]
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
