"""The state of the catalog: labels of clusters, the edit cart, selections and verdicts.

The state is a pure fold over the log of events (core.specs.events). An undo deletes nothing: it is
one more event, which cancels an earlier one and may itself be undone. A change whose object is gone
(its cluster was merged into another one) has no effect, and takes effect again if the object comes
back.

A cluster is a recipe: a cluster of the discover run by its number, a merged one composed of those.
So an edit of a merged cluster can be replayed like any other. Knows nothing of storage.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.specs.events import (
    FIRST_NEW_CLUSTER,
    Add,
    Assign,
    Completion,
    Drop,
    Event,
    Forget,
    Judgement,
    Mark,
    Marking,
    Merge,
    Name,
    Note,
    OfCluster,
    Put,
    Save,
    SaveEdit,
    Split,
    Undo,
    Verdict,
    Verdicts,
)
from core.specs.recipes import AllOf, AnyOf, Edit, InCluster, InPolygon, NoneOf, Recipe

K = TypeVar("K")
V = TypeVar("V")
FIRST_PUT = 1_000_000  # the i-th edit that a `Put` event e adds has the id FIRST_PUT · e + i


@dataclass(frozen=True)
class Remark:
    """A note on a cluster."""

    text: str
    who: str
    time: float

    def carried(self) -> str:
        """The note as it is written on a cluster of another map."""
        return f"{self.text} ({self.who}, of an earlier map)"


@dataclass(frozen=True)
class Labels:
    """The labels of the clusters of one discover run; clusters without labels are absent."""

    discover: str
    names: dict[int, str] = field(default_factory=dict)
    marks: dict[int, Marking] = field(default_factory=dict)
    notes: dict[int, tuple[Remark, ...]] = field(default_factory=dict)
    recipes: dict[int, Recipe] = field(default_factory=dict)  # of merged and new clusters
    merged: dict[int, int] = field(default_factory=dict)  # cluster → the one it is part of
    moves: tuple[tuple[int, Recipe], ...] = ()  # (target cluster, pairs), oldest first
    since: dict[int, int] = field(default_factory=dict)  # number of moves that a recipe includes

    def exists(self, cluster: int) -> bool:
        """Whether a cluster still exists under its own number."""
        return cluster not in self.merged and (
            cluster < FIRST_NEW_CLUSTER or cluster in self.recipes
        )

    def recipe(self, cluster: int) -> Recipe:
        """The pairs of a cluster, after all merges and moves."""
        recipe = self.recipes.get(cluster, InCluster(discover=self.discover, clusters=(cluster,)))
        for target, pairs in self.moves[self.since.get(cluster, 0) :]:
            if self.now(target) == cluster:
                recipe = AnyOf(parts=(recipe, pairs))
            else:
                recipe = AllOf(parts=(recipe, NoneOf(parts=(pairs,))))
        return recipe

    def now(self, cluster: int) -> int:
        """The cluster that a cluster is part of now."""
        while cluster in self.merged:
            cluster = self.merged[cluster]
        return cluster

    def touched(self) -> list[int]:
        """The existing clusters that have labels or other pairs than the run gave them."""
        targets = {self.now(target) for target, _ in self.moves}
        touched = {*self.names, *self.marks, *self.notes, *self.recipes, *targets}
        return sorted(cluster for cluster in touched if self.exists(cluster))

    def composed(self, cluster: int) -> bool:
        """Whether a cluster may have other pairs than in the discover run."""
        return cluster in self.recipes or bool(self.moves)


@dataclass(frozen=True)
class Entry:
    """One edit in the cart."""

    id: int
    edit: Edit
    who: str
    time: float


@dataclass(frozen=True)
class Version:
    """One version of a saved edit."""

    name: str
    number: int
    edits: tuple[Edit, ...]
    who: str
    time: float


@dataclass(frozen=True)
class State:
    """What the log leads to."""

    labels: dict[str, Labels] = field(default_factory=dict)  # by discover run
    cart: tuple[Entry, ...] = ()
    selections: dict[str, Recipe] = field(default_factory=dict)  # saved, by name
    versions: tuple[Version, ...] = ()  # of saved edits, oldest first
    verdicts: Verdicts = field(default_factory=dict)

    def of(self, discover: str) -> Labels:
        """The labels of one discover run, empty where there are none."""
        return self.labels.get(discover, Labels(discover))


def replay(events: Iterable[Event]) -> State:
    """The state that a log leads to, from nothing."""
    state = State()
    for event in in_force(list(events)):
        state = _applied(state, event)
    return state


def in_force(events: Sequence[Event]) -> list[Event]:
    """The events that no undo cancels, in order, without undos. An undone undo cancels nothing."""
    cancelled: set[int] = set()
    for event in reversed(events):
        if isinstance(event.change, Undo) and event.id not in cancelled:
            cancelled.add(event.change.event)
    return [e for e in events if e.id not in cancelled and not isinstance(e.change, Undo)]


def about(events: Sequence[Event], changes: tuple[type, ...]) -> list[Event]:
    """The events of some classes of changes, with the undos of these and the undos of those."""
    ids: set[int] = set()
    for event in events:
        undoes = isinstance(event.change, Undo) and event.change.event in ids
        if undoes or isinstance(event.change, changes):
            ids.add(event.id)
    return [event for event in events if event.id in ids]


def next_cluster(events: Sequence[Event], discover: str) -> int:
    """A number that no new cluster of the run ever had, undone ones included."""
    used = [
        change.new if isinstance(change, Split) else change.cluster
        for change in (event.change for event in events)
        if isinstance(change, Assign | Split) and change.discover == discover
    ]
    return max([FIRST_NEW_CLUSTER - 1, *used]) + 1


def latest_undo(events: Sequence[Event], who: str) -> int | None:
    """The latest of a person's undos that can be undone; None after a new change."""
    undone = {e.change.event for e in events if isinstance(e.change, Undo)}
    undos = {e.id for e in events if isinstance(e.change, Undo)}
    for event in reversed([e for e in events if e.who == who]):
        if not isinstance(event.change, Undo):
            return None
        if event.id not in undone and event.change.event not in undos:
            return event.id
    return None


def _applied(state: State, event: Event) -> State:
    match event.change:
        case Add(edit=edit):
            return replace(state, cart=(*state.cart, Entry(event.id, edit, event.who, event.time)))
        case Drop(entries=ids):
            return replace(state, cart=_cart(state.cart, ids, ()))
        case Put(entries=ids, edits=edits):
            first = FIRST_PUT * event.id
            added = (Entry(first + i, e, event.who, event.time) for i, e in enumerate(edits))
            return replace(state, cart=_cart(state.cart, ids, tuple(added)))
        case SaveEdit(name=name, edits=edits):
            number = 1 + sum(version.name == name for version in state.versions)
            version = Version(name, number, edits, event.who, event.time)
            return replace(state, versions=(*state.versions, version))
        case Verdict(shown=shown) as verdict:
            fields = verdict.model_dump(exclude={"kind", "shown"})
            key = (Completion(**fields), event.who)
            verdicts = {**state.verdicts, key: Judgement(shown, event.time)}
            return replace(state, verdicts=verdicts)
        case Save(name=name, recipe=recipe):
            return replace(state, selections=_with(state.selections, name, recipe))
        case Forget(name=name):
            return replace(state, selections=_with(state.selections, name, None))
        case Undo():
            raise ValueError(f"event {event.id} is an undo: it is not applied, see in_force")
        case change:
            labels = _labelled(state.of(change.discover), event, change)
            return replace(state, labels={**state.labels, change.discover: labels})


def _cart(
    cart: Sequence[Entry], removed: Sequence[int], added: Sequence[Entry]
) -> tuple[Entry, ...]:
    """The cart with `added` at the position of the first entry that is removed, else at the end."""
    positions = [i for i, entry in enumerate(cart) if entry.id in removed]
    first = positions[0] if positions else len(cart)
    kept = [[e for e in part if e.id not in removed] for part in (cart[:first], cart[first:])]
    return (*kept[0], *added, *kept[1])


def _labelled(labels: Labels, event: Event, change: OfCluster) -> Labels:
    cluster = change.cluster
    if not (labels.exists(cluster) or (isinstance(change, Assign) and change.new)):
        return labels
    match change:
        case Name(name=name):
            return replace(labels, names=_with(labels.names, cluster, name or None))
        case Mark(mark=mark):
            return replace(labels, marks=_with(labels.marks, cluster, mark))
        case Note(text=text):
            notes = (*labels.notes.get(cluster, ()), Remark(text, event.who, event.time))
            return replace(labels, notes={**labels.notes, cluster: notes})
        case Merge():
            return _merged(labels, change)
        case Assign():
            return _assigned(labels, change)
        case Split():
            return _split(labels, change)


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
    all_pairs = labels.recipe(change.cluster)
    inside = InPolygon(discover=change.discover, x=change.x, y=change.y)
    rest = AllOf(parts=(all_pairs, NoneOf(parts=(inside,))))
    part = AllOf(parts=(all_pairs, inside))
    return replace(
        labels,
        recipes={**labels.recipes, change.cluster: rest, change.new: part},
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


def _with(values: dict[K, V], key: K, value: V | None) -> dict[K, V]:
    """A copy in which `key` has a value, or is absent for None."""
    rest = {other: kept for other, kept in values.items() if other != key}
    return rest if value is None else {**rest, key: value}
