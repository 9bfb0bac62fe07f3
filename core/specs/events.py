"""Events of the catalog: what people change about clusters, selections, edits and verdicts.

A change becomes an event of the log once it has a number, a time, and the name of who made it. A
change of several cart entries is one event, so that one undo reverts it. A saved edit is never
overwritten: saving under the same name makes its next version. What the events lead to is in
core.workspace.labels; how they are stored, in core.workspace.catalog.
"""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from core.specs.base import Record
from core.specs.recipes import Edit, Recipe

Marking = Literal["harmful", "unwanted", "wanted", "ignore"]
FIRST_NEW_CLUSTER = 10_000  # clusters that people made are numbered from here

# -- clusters ----------------------------------------------------------------------------


class _OfCluster(Record):
    discover: str = Field(description="discover run")
    cluster: int = Field(ge=-1)


class Name(_OfCluster):
    """Name a cluster; an empty name removes the name."""

    kind: Literal["name"] = "name"
    name: str


class Mark(_OfCluster):
    """Mark what should become of a cluster; None removes the mark."""

    kind: Literal["mark"] = "mark"
    mark: Marking | None


class Note(_OfCluster):
    """Write a note on a cluster."""

    kind: Literal["note"] = "note"
    text: str = Field(min_length=1)


class Merge(_OfCluster):
    """Make clusters part of `cluster`, which keeps its number, name and mark."""

    kind: Literal["merge"] = "merge"
    others: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def check_distinct(self) -> Self:
        """No cluster is merged with itself, or twice."""
        if self.cluster in self.others or len(set(self.others)) < len(self.others):
            raise ValueError("a cluster can be merged once, and not with itself")
        return self


class Assign(_OfCluster):
    """Move pairs into a cluster, out of whichever they were in; −1 puts them into none."""

    kind: Literal["assign"] = "assign"
    recipe: Recipe
    new: bool = Field(False, description="the cluster is made by this change")

    @model_validator(mode="after")
    def check_number(self) -> Self:
        """A new cluster has a number that no run gives."""
        if self.new and self.cluster < FIRST_NEW_CLUSTER:
            raise ValueError(f"a new cluster is numbered from {FIRST_NEW_CLUSTER}")
        return self


class Split(_OfCluster):
    """Move the pairs in a polygon to the cluster `new`. Read from old catalogs, never written."""

    kind: Literal["split"] = "split"
    new: int = Field(ge=FIRST_NEW_CLUSTER)
    x: tuple[float, ...] = Field(min_length=3)
    y: tuple[float, ...] = Field(min_length=3)


# -- saved selections --------------------------------------------------------------------


class Save(Record):
    """Save a selection under a name; one of the same name is replaced."""

    kind: Literal["save"] = "save"
    name: str = Field(min_length=1)
    recipe: Recipe


class Forget(Record):
    """Delete a saved selection."""

    kind: Literal["forget"] = "forget"
    name: str


# -- the edit cart and saved edits -------------------------------------------------------


class Add(Record):
    """Put an edit into the cart; the event's number names the entry."""

    kind: Literal["add"] = "add"
    edit: Edit


class Drop(Record):
    """Remove entries from the cart."""

    kind: Literal["drop"] = "drop"
    entries: tuple[int, ...] = Field(min_length=1)


class Put(Record):
    """Replace entries of the cart by edits, in one step."""

    kind: Literal["put"] = "put"
    entries: tuple[int, ...] = ()
    edits: tuple[Edit, ...] = ()


class SaveEdit(Record):
    """Save edits under a name; the n-th time makes version n."""

    kind: Literal["save_edit"] = "save_edit"
    name: str = Field(min_length=1)
    edits: tuple[Edit, ...] = Field(min_length=1)


# -- verdicts ----------------------------------------------------------------------------


class Verdict(Record):
    """Whether a completion shows a flag, by a person who has not seen the judge's answer."""

    kind: Literal["verdict"] = "verdict"
    run: str = Field(description="evaluate run")
    prompt_id: str
    condition: str
    rollout: int
    flag: str
    shown: bool | None = Field(description="None: the person cannot tell")


class Completion(NamedTuple):
    """Identifies one judged completion and the flag in question."""

    run: str
    prompt_id: str
    condition: str
    rollout: int
    flag: str


class Judgement(NamedTuple):
    """A person's latest verdict on a completion."""

    shown: bool | None
    time: float


Verdicts = dict[tuple[Completion, str], Judgement]  # by completion and person

# -- the log -----------------------------------------------------------------------------


class Undo(Record):
    """Cancel an earlier event."""

    kind: Literal["undo"] = "undo"
    event: int


OfCluster = Name | Mark | Note | Merge | Assign | Split
Change = Annotated[
    OfCluster | Save | Forget | Add | Drop | Put | SaveEdit | Verdict | Undo,
    Field(discriminator="kind"),
]


class Event(Record):
    """One change, with who made it, when (seconds since the epoch) and why."""

    id: int
    time: float
    who: str
    why: str = ""
    change: Change
