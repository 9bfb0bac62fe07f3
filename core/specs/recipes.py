"""Which pairs an edit touches, said as a filter that can be replayed, never as a list of ids.

A recipe is a small tree: leaves name a ranking's top, a cluster, a region of a map, or a column's
value; `all_of`, `any_of` and `none_of` combine them. `intervention.edits.apply` evaluates it. A
recipe does not know what is done to the pairs: an `Edit` adds the action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError

from core.errors import UserError, first_problem
from core.specs.scores import Score
from core.storage.parse import from_json

Action = Literal["remove", "flip", "keep"]
Join = Literal["and", "or", "but not"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def runs(self) -> list[str]:
        """Ids of the runs that this record, and whatever it contains, reads."""
        own = [getattr(self, name) for name in ("rank", "discover") if hasattr(self, name)]
        parts: list[_Record] = list(getattr(self, "parts", ()))
        return own + [run for part in parts for run in part.runs()]


class TopK(_Record):
    """The k pairs that a ranking puts first."""

    kind: Literal["top_k"] = "top_k"
    rank: str = Field(description="rank run")
    k: PositiveInt = Field(description="pairs")
    score: Score | None = Field(None, description="none: the one that the ranking is ordered by")


class Above(_Record):
    """The pairs whose score in a ranking is at least a threshold."""

    kind: Literal["above"] = "above"
    rank: str = Field(description="rank run")
    threshold: float
    score: Score | None = Field(None, description="none: the one that the ranking is ordered by")


class Where(_Record):
    """The pairs with one of these values in a column (source, chosen_model, uid, …)."""

    kind: Literal["where"] = "where"
    column: str
    values: tuple[str, ...] = Field(min_length=1)


class Contains(_Record):
    """The pairs in which a column's text contains a phrase, whatever its case."""

    kind: Literal["contains"] = "contains"
    column: Literal["prompt", "chosen", "rejected"]
    phrase: str = Field(min_length=1)


class Matches(_Record):
    """The pairs in which a column's text matches a regular expression (RE2: linear time)."""

    kind: Literal["matches"] = "matches"
    column: Literal["prompt", "chosen", "rejected"]
    pattern: str = Field(min_length=1)


class BestWords(_Record):
    """The k pairs whose text in a column answers some words best, by BM25; fewer if fewer do."""

    kind: Literal["best_words"] = "best_words"
    column: Literal["prompt", "chosen", "rejected"]
    query: str = Field(min_length=1)
    k: PositiveInt = Field(description="pairs")


class InCluster(_Record):
    """The pairs of clusters of one discover run, or of its finer groups, the map's islands."""

    kind: Literal["in_cluster"] = "in_cluster"
    discover: str = Field(description="discover run")
    clusters: tuple[int, ...] = Field(min_length=1)
    level: Literal["cluster", "island"] = "cluster"


class InPolygon(_Record):
    """The pairs whose place on a discover run's map lies inside a closed polygon."""

    kind: Literal["in_polygon"] = "in_polygon"
    discover: str = Field(description="discover run")
    x: tuple[float, ...] = Field(min_length=3)
    y: tuple[float, ...] = Field(min_length=3)


class InBand(_Record):
    """The pairs whose places across a discover run's heatmap are low to high, both included."""

    kind: Literal["in_band"] = "in_band"
    discover: str = Field(description="discover run")
    low: int = Field(ge=0)
    high: int = Field(ge=0)


class AllOf(_Record):
    """The pairs in every one of the parts."""

    kind: Literal["all_of"] = "all_of"
    parts: tuple[Recipe, ...] = Field(min_length=1)


class AnyOf(_Record):
    """The pairs in at least one of the parts."""

    kind: Literal["any_of"] = "any_of"
    parts: tuple[Recipe, ...] = Field(min_length=1)


class NoneOf(_Record):
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


class Edit(_Record):
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


def combined(how: Join, recipes: Sequence[Recipe]) -> Recipe:
    """One recipe of several; `but not` takes the pairs of the others out of the first one's."""
    first, *others = recipes
    if not others:
        return first
    if how == "or":
        return AnyOf(parts=tuple(recipes))
    if how == "and":
        return AllOf(parts=tuple(recipes))
    return AllOf(parts=(first, NoneOf(parts=tuple(others))))
