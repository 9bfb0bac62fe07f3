"""Behaviors, and the scores that order pairs for one.

A behavior is one yes/no flag of the judge, measured on one group of prompts under one condition.
The same record serves attribution (which prompts build the behavior vector) and evaluation (which
rate is reported). Every score comes from one scan over an index (core.attribution.similarity), so
a ranking has all of them, in whichever order it is written; methods that need more than an index
are compared by `pairtrace bench methods`. Does not know how completions are judged.
"""

from typing import Literal

from pydantic import Field

from core.specs.base import Record

Condition = Literal["plain", "distractor"]
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
    condition: Condition = Field("plain", description="plain prompt, or prompt + distractor")
    wanted: bool = Field(False, description="a change to keep, reported as a guard")
    description: str = Field("", description="one sentence for people")
