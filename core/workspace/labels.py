"""What holds after the changes that people made: the replay of the log.

The log of changes is the truth; the current state is a pure fold over it. An undo does not
delete: it is one more change, which cancels an earlier one, and may itself be undone. A change
that no longer has anything to act on (its cluster was merged away, its split undone) stays in
the log without effect, and acts again if what it needs comes back.

A cluster is a recipe: those of the discover run by number, merged and split ones composed of
them. So an edit of a merged cluster can be replayed like any other. Knows nothing of storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.specs.events import (
    FIRST_PUT,
    FIRST_SPLIT,
    Add,
    Assign,
    Drop,
    Event,
    Forget,
    Mark,
    Marking,
    Merge,
    Name,
    Note,
    Put,
    Save,
    SaveEdit,
    Split,
    Undo,
    Verdict,
    Verdicts,
    Version,
    replaced,
    with_verdict,
    with_version,
)
from core.specs.recipes import AllOf, AnyOf, Edit, InCluster, InPolygon, NoneOf, Recipe

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True)
class Remark:
    """A note beside a cluster."""

    text: str
    who: str
    time: float

    def carried(self) -> str:
        """The note as it is written beside a cluster of another map."""
        return f"{self.text} ({self.who}, of an earlier map)"


@dataclass(frozen=True)
class Labels:
    """What is said about the clusters of one discover run; clusters without a word are absent."""

    discover: str
    names: dict[int, str] = field(default_factory=dict)
    marks: dict[int, Marking] = field(default_factory=dict)
    notes: dict[int, tuple[Remark, ...]] = field(default_factory=dict)
    recipes: dict[int, Recipe] = field(default_factory=dict)  # of merged and split clusters
    merged: dict[int, int] = field(default_factory=dict)  # cluster → the one it is now part of
    moves: tuple[tuple[int, Recipe], ...] = ()  # (to which cluster, which pairs), oldest first
    since: dict[int, int] = field(default_factory=dict)  # how many moves a recipe has in it

    def exists(self, cluster: int) -> bool:
        """Whether a cluster is still there, under its own number."""
        return cluster not in self.merged and (cluster < FIRST_SPLIT or cluster in self.recipes)

    def recipe(self, cluster: int) -> Recipe:
        """Which pairs a cluster holds, merges, splits and moved pairs included."""
        found: Recipe = self.recipes.get(
            cluster, InCluster(discover=self.discover, clusters=(cluster,))
        )
        for target, pairs in self.moves[self.since.get(cluster, 0) :]:
            if self.now(target) == cluster:
                found = AnyOf(parts=(found, pairs))
            else:
                found = AllOf(parts=(found, NoneOf(parts=(pairs,))))
        return found

    def now(self, cluster: int) -> int:
        """The cluster that a cluster is part of now."""
        while cluster in self.merged:
            cluster = self.merged[cluster]
        return cluster

    def touched(self) -> list[int]:
        """The clusters that are there and that anybody said something of, or gave other pairs."""
        moved_to = {self.now(target) for target, _ in self.moves}
        known = {*self.names, *self.marks, *self.notes, *self.recipes, *moved_to}
        return sorted(one for one in known if self.exists(one))

    def composed(self, cluster: int) -> bool:
        """Whether a cluster may hold other pairs than the discover run found."""
        return cluster in self.recipes or bool(self.moves)


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
    selections: dict[str, Recipe] = field(default_factory=dict)  # saved, by name
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


def next_cluster(events: Sequence[Event], discover: str) -> int:
    """A number that no split or new cluster of the run ever had, undone ones included."""
    changes = [e.change for e in events]
    used = [c.new for c in changes if isinstance(c, Split) and c.discover == discover]
    used += [c.cluster for c in changes if isinstance(c, Assign) and c.discover == discover]
    return max([FIRST_SPLIT - 1, *used]) + 1


def latest_undo(events: Sequence[Event], who: str) -> int | None:
    """The latest of a person's undos that can be taken back; none after a new change."""
    undone = {e.change.event for e in events if isinstance(e.change, Undo)}
    undos = {e.id for e in events if isinstance(e.change, Undo)}
    for event in reversed([e for e in events if e.who == who]):
        if not isinstance(event.change, Undo):
            return None
        if event.id not in undone and event.change.event not in undos:
            return event.id
    return None


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
    if isinstance(change, Save | Forget):
        recipe = change.recipe if isinstance(change, Save) else None
        return replace(state, selections=_with(state.selections, change.name, recipe))
    if isinstance(change, Undo):
        raise ValueError(f"event {event.id} is an undo: it is not applied, see in_force")
    labels = _labelled(state.of(change.discover), event, change)
    return replace(state, labels={**state.labels, change.discover: labels})


def _labelled(
    labels: Labels, event: Event, change: Name | Mark | Note | Merge | Split | Assign
) -> Labels:
    cluster = change.cluster
    if isinstance(change, Assign) and (change.new or labels.exists(cluster)):
        return _assigned(labels, change)
    if isinstance(change, Assign) or not labels.exists(cluster):
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
        since={**labels.since, change.cluster: len(labels.moves)},
    )


def _split(labels: Labels, change: Split) -> Labels:
    whole = labels.recipe(change.cluster)
    inside = InPolygon(discover=change.discover, x=change.x, y=change.y)
    rest = AllOf(parts=(whole, NoneOf(parts=(inside,))))
    taken = AllOf(parts=(whole, inside))
    return replace(
        labels,
        recipes={**labels.recipes, change.cluster: rest, change.new: taken},
        since={**labels.since, **dict.fromkeys((change.cluster, change.new), len(labels.moves))},
    )


def _assigned(labels: Labels, change: Assign) -> Labels:
    moved = replace(labels, moves=(*labels.moves, (change.cluster, change.recipe)))
    if not change.new:
        return moved
    return replace(
        moved,
        recipes={**labels.recipes, change.cluster: change.recipe},
        since={**labels.since, change.cluster: len(moved.moves)},
    )


def _with(known: dict[K, T], key: K, value: T | None) -> dict[K, T]:
    """A copy in which a key has a value, or none."""
    rest = {other: kept for other, kept in known.items() if other != key}
    return rest if value is None else {**rest, key: value}
