"""Changes of the log that concern edits: rearranging the cart, saved versions, people's verdicts.

A cart is rearranged in one step, so that one undo takes it back. A saved edit is never overwritten:
saving under the same name again makes its next version. A verdict is what a person said of one
completion without having seen what the judge said. Replayed by `core.workspace.labels`.

What people can say about clusters, selections and the edit cart: one record per kind of change.

A change is an event of the log once it has a number, a time, and the name of who made it. What
changes lead to is in `core.workspace.labels`. Knows nothing of storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.specs.recipes import Edit, Recipe


class HasId(Protocol):
    """An entry of the cart."""

    @property
    def id(self) -> int: ...


T = TypeVar("T", bound=HasId)
FIRST_PUT = 1_000_000  # an entry that event e put in i-th is numbered FIRST_PUT · e + i


class _EditChange(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Put(_EditChange):
    """Take entries out of the cart and put edits in, in one step."""

    kind: Literal["put"] = "put"
    entries: tuple[int, ...] = ()
    edits: tuple[Edit, ...] = ()


class SaveEdit(_EditChange):
    """Keep edits under a name; the n-th time makes version n."""

    kind: Literal["save_edit"] = "save_edit"
    name: str = Field(min_length=1)
    edits: tuple[Edit, ...] = Field(min_length=1)


class Verdict(_EditChange):
    """Whether a completion shows a flag, as a person sees it; None: cannot be told."""

    kind: Literal["verdict"] = "verdict"
    run: str = Field(description="evaluate run")
    prompt_id: str
    condition: str
    rollout: int
    flag: str
    shown: bool | None


@dataclass(frozen=True)
class Version:
    """One version of a saved edit."""

    name: str
    number: int
    edits: tuple[Edit, ...]
    who: str
    time: float


class Completion(NamedTuple):
    """Names one judged completion and the flag in question."""

    run: str
    prompt_id: str
    condition: str
    rollout: int
    flag: str


class Said(NamedTuple):
    """A person's latest word on a completion."""

    shown: bool | None
    time: float


Verdicts = dict[tuple[Completion, str], Said]  # by completion and person


def replaced(cart: Sequence[T], gone: Sequence[int], put_in: Sequence[T]) -> tuple[T, ...]:
    """A cart in which entries stand in the place of the first of those that they replace."""
    places = [place for place, entry in enumerate(cart) if entry.id in gone]
    first = places[0] if places else len(cart)
    rest = [[e for e in part if e.id not in gone] for part in (cart[:first], cart[first:])]
    return (*rest[0], *put_in, *rest[1])


def with_version(
    versions: tuple[Version, ...], change: SaveEdit, who: str, time: float
) -> tuple[Version, ...]:
    """The saved versions and one more."""
    number = 1 + sum(version.name == change.name for version in versions)
    return (*versions, Version(change.name, number, change.edits, who, time))


def with_verdict(verdicts: Verdicts, change: Verdict, who: str, time: float) -> Verdicts:
    """The verdicts with this person's latest on that completion."""
    about = Completion(change.run, change.prompt_id, change.condition, change.rollout, change.flag)
    return {**verdicts, (about, who): Said(change.shown, time)}


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
