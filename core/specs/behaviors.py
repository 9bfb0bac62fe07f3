"""What is measured, and under which prompts.

A behavior is one yes/no flag of the judge, read on one group of prompts under one condition.
The same record serves attribution (which prompts build the behavior vector) and evaluation
(which rate is reported). It does not know how completions are judged.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Condition = Literal["plain", "distractor"]


class Behavior(BaseModel):
    """One named behavior: share of completions with `flag` among `group` under `condition`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="what the analyst calls it")
    flag: str = Field(description="the judge's flag that counts as showing it")
    group: str = Field(description="the group of prompts it is measured on")
    condition: Condition = Field("plain", description="plain prompt, or prompt + distractor")
    wanted: bool = Field(False, description="a change to keep, reported as a guard")
    description: str = Field("", description="one sentence for people")
