"""Recipes: which pairs an edit selects, as a filter that can be replayed and read.

A recipe is a small tree: leaves name the top of a ranking, a cluster, a region of a map, or the
value of a column; `all_of`, `any_of` and `none_of` combine them. An `Edit` adds what is done to the
pairs. Knows no pairs: `intervention.edits.select` evaluates recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    FiniteFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from core.errors import UserError, first_problem
from core.specs.base import Judge, Pairs, Record, Spec
from core.specs.behaviors import Score
from core.storage.parse import from_json

Action = Literal["remove", "flip", "keep", "weight", "rewrite", "relabel"]
Join = Literal["and", "or", "but not"]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # factor on a pair's part of the loss


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


class HasLength(_Node):
    """The pairs whose text in a column has low to high characters, both included."""

    kind: Literal["has_length"] = "has_length"
    column: Literal["prompt", "chosen", "rejected"]
    low: int = Field(0, ge=0)
    high: int | None = Field(None, ge=0, description="default: no limit")


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
    TopK | Above | Where | Contains | Matches | BestWords | HasLength | InCluster | InPolygon
    | InBand | AllOf | AnyOf | NoneOf,
    Field(discriminator="kind"),
]  # fmt: skip


class Rewrite(Record):
    """A completion's text, changed by hand."""

    side: Literal["chosen", "rejected"]
    old: str = Field(description="the text that was changed: another one is not replaced")
    new: str

    @model_validator(mode="after")
    def check_text(self) -> Self:
        """There is a text, and another one than before."""
        if not self.new.strip():
            raise ValueError(f"the {self.side} text is empty. Write one, or remove the pair")
        if self.new == self.old:
            raise ValueError(f"the {self.side} text is the same as before. Change it")
        return self


class Relabel(Record):
    """How a judge votes on a pair: one vote per flag on which chosen and rejected differ."""

    prefer: tuple[str, ...] = Field(
        min_length=1, description="flags that the better completion shows; `not FLAG`: it lacks"
    )
    majority: float = Field(
        0.5, ge=0.5, lt=1, description="flipped where more than this share of votes is for rejected"
    )


class Curve(Record):
    """A weight by a ranking's score: straight between points, flat before and after them."""

    rank: str = Field(description="rank run; a pair that it has no score for keeps its weight")
    score: Score | None = Field(None, description="default: the score that orders the ranking")
    points: tuple[tuple[FiniteFloat, Weight], ...] = Field(
        min_length=2, description="score and weight, by rising score"
    )

    @model_validator(mode="after")
    def check_points(self) -> Self:
        """Scores rise."""
        if [score for score, _ in self.points] != sorted({score for score, _ in self.points}):
            raise ValueError("the scores of a curve's points rise: each once, the lowest first")
        return self


DETAIL = {"weight": ("weight", "curve"), "rewrite": ("rewrite",), "relabel": ("relabel",)}


class Edit(_Node):
    """What is done to the pairs of one recipe, and why."""

    action: Action
    recipe: Recipe
    why: str = ""
    weight: Weight | None = Field(None, description="factor on each pair's part of the loss")
    curve: Curve | None = Field(None, description="such a factor by score")
    rewrite: Rewrite | None = None
    relabel: Relabel | None = None

    @model_validator(mode="after")
    def check_detail(self) -> Self:
        """An action has one of its details, and no other's."""
        for action, names in DETAIL.items():
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) != (self.action == action):
                raise ValueError(
                    f"{' or '.join(names)} comes with the action {action!r}, and with no other"
                )
        return self

    def runs(self) -> list[str]:
        """Ids of the runs that the recipe and the curve read."""
        return self.recipe.runs() + ([self.curve.rank] if self.curve else [])

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Edits of earlier versions, which had no details, keep their form and so their ids."""
        values = handler(self)
        details = {name for names in DETAIL.values() for name in names}
        return {n: v for n, v in values.items() if n not in details or v is not None}


for _model in (AllOf, AnyOf, NoneOf, Edit):
    _model.model_rebuild()


class EditSpec(Spec):
    """Apply recipes to the pairs: remove, flip, weight, rewrite, relabel or keep them."""

    step: ClassVar[str] = "edit"
    uses_device: ClassVar[bool] = False
    later: ClassVar[frozenset[str]] = frozenset({"judge"})
    pairs: Pairs = Field(description="preference pairs to edit")
    edits: tuple[Edit, ...] = Field(description="JSON list of recipes with their action")
    control: int | None = Field(
        None, description="random seed of a control arm: same size, sources and action"
    )
    judge: Judge | None = Field(None, description="who votes on the pairs to relabel")

    @model_validator(mode="after")
    def check_judge(self) -> Self:
        """Relabelling needs a judge."""
        if self.judge is None and any(edit.relabel for edit in self.edits):
            raise ValueError("relabel needs a judge: a judge file or world file (TOML)")
        return self

    @field_validator("judge", mode="before")
    @classmethod
    def _only_to_relabel(cls, judge: Any, info: ValidationInfo) -> Any:
        """Without pairs to relabel, the judge is left out: it changes nothing."""
        return judge if any(edit.relabel for edit in info.data.get("edits", ())) else None


def edit_of(action: Action, recipe: Recipe, why: str = "", **detail: Any) -> Edit:
    """An edit with its detail; `UserError` says what is wrong with it."""
    try:
        return Edit(action=action, recipe=recipe, why=why, **detail)
    except ValidationError as error:
        raise UserError(f"{action}: {first_problem(error)}.") from error


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
