"""Behaviors, and the scores that order pairs for one.

A behavior is one yes/no flag of the judge, measured on one group of prompts under one condition,
and compared with another condition.
The same record serves attribution (which prompts build the behavior vector) and evaluation (which
rate is reported). Every score comes from one scan over an index (core.attribution.similarity), so
a ranking has all of them, in whichever order it is written; methods that need more than an index
are compared by `pairtrace bench methods`. Does not know how completions are judged.
"""

from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from core.data.conditions import PLAIN, Condition
from core.specs.base import Record

Score = Literal["discriminant", "gated", "bilinear", "similarity", "bank", "projection"]

NO_JUDGE = "none"  # in a judge's place: completions get no flags, and no behavior is measured

DEFAULT_SCORE: Score = "discriminant"  # the best on other worlds: docs/experiments/scores.md

SCORE_NAMES: dict[Score, str] = {
    "discriminant": "gated discriminant",
    "gated": "gated similarity",
    "bilinear": "bilinear gated similarity",
    "similarity": "similarity",
    "bank": "bank similarity",
    "projection": "projection",
}


class Behavior(Record):
    """One named behavior: share of completions with `flag` among `group` under `condition`."""

    name: str = Field(description="what the analyst calls it")
    flag: str = Field(description="the judge's flag that counts as showing it")
    group: str = Field(description="the group of prompts it is measured on")
    condition: str = Field(PLAIN, description="the condition that it is measured under")
    wanted: bool = Field(False, description="a change to keep, reported as a guard")
    description: str = Field("", description="one sentence for people")
    against: str = Field(PLAIN, description="the condition that it is compared with")

    @model_validator(mode="after")
    def _compares_two(self) -> Self:
        if self.against == self.condition != PLAIN:
            raise ValueError(
                f"behavior {self.name!r}: against is {self.against!r}, its condition. Compare it "
                f"with another one, such as {PLAIN!r}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before_against(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `against` where it is plain, so that earlier runs keep their ids."""
        values: dict[str, Any] = handler(self)
        return {k: v for k, v in values.items() if (k, v) != ("against", PLAIN)}


def check_conditions(behavior: Behavior, conditions: Iterable[Condition]) -> None:
    """`ValueError` where a behavior names a condition that does not exist."""
    names = [PLAIN, *(condition.name for condition in conditions)]
    for field in ("condition", "against"):
        if (name := getattr(behavior, field)) not in names:
            raise ValueError(
                f"behavior {behavior.name!r}: {field} {name[:60]!r} does not exist. "
                f"There are: {', '.join(names)}"
            )
