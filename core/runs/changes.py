"""What people can say about clusters, selections and the edit cart: one record per kind of change.

A change is an event of the log once it has a number, a time, and the name of who made it. What
changes lead to is in `core.runs.labels`. Knows nothing of storage.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.intervention.recipes import Edit, Recipe
from core.runs.edit_changes import Put, SaveEdit, Verdict

Marking = Literal["harmful", "unwanted", "wanted", "ignore"]
FIRST_SPLIT = 10_000  # clusters that a split made are numbered from here


class _Change(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _OfCluster(_Change):
    discover: str = Field(description="discover run")
    cluster: int = Field(ge=-1)


class Name(_OfCluster):
    """Call a cluster something; an empty name takes the name away."""

    kind: Literal["name"] = "name"
    name: str


class Mark(_OfCluster):
    """Say what should become of a cluster; None takes the mark away."""

    kind: Literal["mark"] = "mark"
    mark: Marking | None


class Note(_OfCluster):
    """Write a remark beside a cluster."""

    kind: Literal["note"] = "note"
    text: str = Field(min_length=1)


class Merge(_OfCluster):
    """Make clusters part of `cluster`, which keeps its number, name and mark."""

    kind: Literal["merge"] = "merge"
    others: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def check_distinct(self) -> Merge:
        """No cluster is merged with itself, or twice."""
        if self.cluster in self.others or len(set(self.others)) < len(self.others):
            raise ValueError("a cluster can be merged once, and not with itself")
        return self


class Split(_OfCluster):
    """Take the pairs inside a polygon out of a cluster; they become the cluster `new`."""

    kind: Literal["split"] = "split"
    new: int = Field(ge=FIRST_SPLIT)
    x: tuple[float, ...] = Field(min_length=3)
    y: tuple[float, ...] = Field(min_length=3)


class Assign(_OfCluster):
    """Move pairs into a cluster, out of whichever they were in; −1 puts them into none."""

    kind: Literal["assign"] = "assign"
    recipe: Recipe
    new: bool = Field(False, description="the cluster is made by this change")

    @model_validator(mode="after")
    def check_number(self) -> Assign:
        """A cluster that is made has a number that no run gives."""
        if self.new and self.cluster < FIRST_SPLIT:
            raise ValueError(f"a cluster that is made is numbered from {FIRST_SPLIT}")
        return self


class Save(_Change):
    """Keep a selection under a name; one of the same name is replaced."""

    kind: Literal["save"] = "save"
    name: str = Field(min_length=1)
    recipe: Recipe


class Forget(_Change):
    """Keep a saved selection no longer."""

    kind: Literal["forget"] = "forget"
    name: str


class Add(_Change):
    """Put an edit into the cart; the event's number names the entry."""

    kind: Literal["add"] = "add"
    edit: Edit


class Drop(_Change):
    """Take entries out of the cart."""

    kind: Literal["drop"] = "drop"
    entries: tuple[int, ...] = Field(min_length=1)


class Undo(_Change):
    """Cancel an earlier event."""

    kind: Literal["undo"] = "undo"
    event: int


Change = Annotated[
    Name
    | Mark
    | Note
    | Merge
    | Split
    | Assign
    | Save
    | Forget
    | Add
    | Drop
    | Put
    | SaveEdit
    | Verdict
    | Undo,
    Field(discriminator="kind"),
]


class Event(BaseModel):
    """One change, with who made it, when (seconds since the epoch) and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: int
    time: float
    who: str
    why: str = ""
    change: Change
