"""What people said about clusters and put into the edit cart: changes, and their replay.

The log of changes is the truth; the current state is a pure fold over it. An undo does not
delete: it is one more change, which cancels an earlier one, and may itself be undone. A change
that no longer has anything to act on (its cluster was merged away, its split undone) stays in
the log without effect, and acts again if what it needs comes back.

A cluster is a recipe: those of the discover run by number, merged and split ones composed of
them. So an edit of a merged cluster can be replayed like any other. Knows nothing of storage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import UserError
from core.intervention.recipes import AllOf, AnyOf, Edit, InCluster, InPolygon, NoneOf, Recipe
from core.runs.edit_changes import (
    FIRST_PUT,
    Put,
    SaveEdit,
    Verdict,
    Verdicts,
    Version,
    replaced,
    with_verdict,
    with_version,
)

Marking = Literal["harmful", "unwanted", "wanted", "ignore"]
T = TypeVar("T")
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
        if self.cluster in self.others or len(set(self.others)) < len(self.others):
            raise ValueError("a cluster can be merged once, and not with itself")
        return self


class Split(_OfCluster):
    """Take the pairs inside a polygon out of a cluster; they become the cluster `new`."""

    kind: Literal["split"] = "split"
    new: int = Field(ge=FIRST_SPLIT)
    x: tuple[float, ...] = Field(min_length=3)
    y: tuple[float, ...] = Field(min_length=3)


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
    Name | Mark | Note | Merge | Split | Add | Drop | Put | SaveEdit | Verdict | Undo,
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


@dataclass(frozen=True)
class Remark:
    """A note beside a cluster."""

    text: str
    who: str
    time: float


@dataclass(frozen=True)
class Labels:
    """What is said about the clusters of one discover run; clusters without a word are absent."""

    discover: str
    names: dict[int, str] = field(default_factory=dict)
    marks: dict[int, Marking] = field(default_factory=dict)
    notes: dict[int, tuple[Remark, ...]] = field(default_factory=dict)
    recipes: dict[int, Recipe] = field(default_factory=dict)  # of merged and split clusters
    merged: dict[int, int] = field(default_factory=dict)  # cluster → the one it is now part of

    def exists(self, cluster: int) -> bool:
        """Whether a cluster is still there, under its own number."""
        return cluster not in self.merged and (cluster < FIRST_SPLIT or cluster in self.recipes)

    def recipe(self, cluster: int) -> Recipe:
        """Which pairs a cluster holds, merges and splits included."""
        whole = InCluster(discover=self.discover, clusters=(cluster,))
        return self.recipes.get(cluster, whole)


@dataclass(frozen=True)
class Entry:
    """One edit in the cart."""

    id: int
    edit: Edit
    who: str
    time: float


@dataclass(frozen=True)
class State:
    """What holds now."""

    labels: dict[str, Labels] = field(default_factory=dict)  # by discover run
    cart: tuple[Entry, ...] = ()
    versions: tuple[Version, ...] = ()  # of saved edits, oldest first
    verdicts: Verdicts = field(default_factory=dict)

    def of(self, discover: str) -> Labels:
        """The labels of one discover run, empty if nobody said anything yet."""
        return self.labels.get(discover, Labels(discover))


def replay(events: Iterable[Event]) -> State:
    """The state that a log leads to, from nothing."""
    state = State()
    for event in in_force(list(events)):
        state = _applied(state, event)
    return state


def in_force(events: Sequence[Event]) -> list[Event]:
    """The events that no undo cancels, in order, undos left out. An undone undo cancels nothing."""
    cancelled: set[int] = set()
    for event in reversed(events):
        if isinstance(event.change, Undo) and event.id not in cancelled:
            cancelled.add(event.change.event)
    return [e for e in events if e.id not in cancelled and not isinstance(e.change, Undo)]


def exported(state: State) -> str:
    """Name, mark, notes and recipe of every cluster that anyone said something about, as JSON."""
    runs = {run: _described(labels) for run, labels in sorted(state.labels.items())}
    return json.dumps({"labels": runs}, indent=2, ensure_ascii=False) + "\n"


def imported(text: str) -> list[Change]:
    """The changes that give another log the names, marks and notes of an export."""
    changes: list[Change] = []
    try:
        for run, clusters in json.loads(text)["labels"].items():
            for cluster, said in clusters.items():
                where = {"discover": run, "cluster": int(cluster)}
                if said.get("name"):
                    changes.append(Name(**where, name=said["name"]))
                if said.get("mark"):
                    changes.append(Mark(**where, mark=said["mark"]))
                changes += [Note(**where, text=note) for note in said.get("notes", [])]
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"These are not labels that PairTrace exported: {error!r}") from error
    return changes


def _described(labels: Labels) -> dict[str, dict[str, Any]]:
    known = sorted({*labels.names, *labels.marks, *labels.notes, *labels.recipes})
    return {
        str(cluster): {
            "name": labels.names.get(cluster),
            "mark": labels.marks.get(cluster),
            "notes": [note.text for note in labels.notes.get(cluster, ())],
            "recipe": labels.recipe(cluster).model_dump(mode="json"),
        }
        for cluster in known
        if labels.exists(cluster)
    }


def _applied(state: State, event: Event) -> State:
    change = event.change
    if isinstance(change, Add):
        entry = Entry(event.id, change.edit, event.who, event.time)
        return replace(state, cart=(*state.cart, entry))
    if isinstance(change, Drop | Put):
        put = enumerate(change.edits if isinstance(change, Put) else ())
        put_in = [Entry(FIRST_PUT * event.id + i, e, event.who, event.time) for i, e in put]
        return replace(state, cart=replaced(state.cart, change.entries, put_in))
    if isinstance(change, SaveEdit):
        versions = with_version(state.versions, change, event.who, event.time)
        return replace(state, versions=versions)
    if isinstance(change, Verdict):
        verdicts = with_verdict(state.verdicts, change, event.who, event.time)
        return replace(state, verdicts=verdicts)
    if isinstance(change, Undo):
        raise ValueError(f"event {event.id} is an undo: it is not applied, see in_force")
    labels = _labelled(state.of(change.discover), event, change)
    return replace(state, labels={**state.labels, change.discover: labels})


def _labelled(labels: Labels, event: Event, change: Name | Mark | Note | Merge | Split) -> Labels:
    cluster = change.cluster
    if not labels.exists(cluster):
        return labels
    if isinstance(change, Name):
        return replace(labels, names=_with(labels.names, cluster, change.name or None))
    if isinstance(change, Mark):
        return replace(labels, marks=_with(labels.marks, cluster, change.mark))
    if isinstance(change, Note):
        remark = Remark(change.text, event.who, event.time)
        notes = (*labels.notes.get(cluster, ()), remark)
        return replace(labels, notes={**labels.notes, cluster: notes})
    return _merged(labels, change) if isinstance(change, Merge) else _split(labels, change)


def _merged(labels: Labels, change: Merge) -> Labels:
    others = [other for other in change.others if labels.exists(other)]
    if not others:
        return labels
    parts = tuple(labels.recipe(cluster) for cluster in (change.cluster, *others))
    return replace(
        labels,
        recipes={**labels.recipes, change.cluster: AnyOf(parts=parts)},
        merged={**labels.merged, **dict.fromkeys(others, change.cluster)},
    )


def _split(labels: Labels, change: Split) -> Labels:
    whole = labels.recipe(change.cluster)
    inside = InPolygon(discover=change.discover, x=change.x, y=change.y)
    rest = AllOf(parts=(whole, NoneOf(parts=(inside,))))
    taken = AllOf(parts=(whole, inside))
    return replace(labels, recipes={**labels.recipes, change.cluster: rest, change.new: taken})


def _with(known: dict[int, T], cluster: int, value: T | None) -> dict[int, T]:
    """A copy in which a cluster has a value, or none."""
    rest = {key: kept for key, kept in known.items() if key != cluster}
    return rest if value is None else {**rest, cluster: value}
