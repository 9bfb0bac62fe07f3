"""The log of what people decided, in one SQLite file: cluster names, merges, notes, edit cart.

Append-only. Every write takes SQLite's write lock before it reads, so that two people's changes
come one after the other and none is lost; the current state is replayed from the log
(`core.workspace.labels`). A connection lives for one call: a catalog may be shared between threads.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import LOOKING_ON, UserError
from core.specs.events import (
    Add,
    Assign,
    Change,
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
)
from core.specs.recipes import Edit, Recipe
from core.workspace.catalog_db import connected, make
from core.workspace.label_files import exported, imported
from core.workspace.labels import Remark, State, in_force, latest_undo, next_cluster, replay


class Catalog:
    """The catalog of one workspace. Writers name themselves (`who`) and may say `why`."""

    def __init__(self, workspace: Path, *, writable: bool = True) -> None:
        self._writable = writable
        self.path = workspace / "catalog.sqlite"
        make(self.path)

    # -- reading -------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """The whole log, oldest first."""
        with connected(self.path) as connection:
            return _events(connection)

    def state(self) -> State:
        """What holds now."""
        return replay(self.events())

    def version(self) -> int:
        """Number of the latest event; it changes whenever the state may have changed."""
        with connected(self.path) as connection:
            latest: int | None = connection.execute("SELECT max(id) FROM events").fetchone()[0]
        return latest or 0

    # -- clusters ------------------------------------------------------------------------

    def rename(self, discover: str, cluster: int, name: str, *, who: str, why: str = "") -> Event:
        """Name a cluster; an empty name takes the name away."""
        return self._append(Name(discover=discover, cluster=cluster, name=name.strip()), who, why)

    def mark(
        self, discover: str, cluster: int, mark: Marking | None, *, who: str, why: str = ""
    ) -> Event:
        """Mark a cluster harmful, unwanted, wanted or to be ignored; None takes it away."""
        return self._append(Mark(discover=discover, cluster=cluster, mark=mark), who, why)

    def note(self, discover: str, cluster: int, text: str, *, who: str, why: str = "") -> Event:
        """Write a remark beside a cluster."""
        if not text.strip():
            raise UserError("The note is empty.")
        return self._append(Note(discover=discover, cluster=cluster, text=text.strip()), who, why)

    def merge(
        self, discover: str, cluster: int, others: Sequence[int], *, who: str, why: str = ""
    ) -> Event:
        """Make other clusters part of one, which keeps its number, name and mark."""
        if not others or cluster in others or len(set(others)) < len(others):
            raise UserError("Choose two or more different clusters to merge.")
        with self._writing() as connection:
            _require_clusters(connection, discover, [cluster, *others])
            change = Merge(discover=discover, cluster=cluster, others=tuple(others))
            return _insert(connection, change, who, why)

    def split(
        self,
        discover: str,
        cluster: int,
        *,
        x: Sequence[float],
        y: Sequence[float],
        who: str,
        why: str = "",
    ) -> Event:
        """Give the pairs inside a polygon a cluster of their own, `event.change.new`."""
        if len(x) != len(y) or len(x) < 3:
            raise UserError("A split needs a closed region of at least three corners.")
        with self._writing() as connection:
            _require_clusters(connection, discover, [cluster])
            change = Split(
                discover=discover,
                cluster=cluster,
                new=next_cluster(_events(connection), discover),
                x=tuple(x),
                y=tuple(y),
            )
            return _insert(connection, change, who, why)

    def assign(
        self, discover: str, cluster: int | None, recipe: Recipe, *, who: str, why: str = ""
    ) -> Event:
        """Move pairs into a cluster (−1: into none), or, without one, into a new cluster."""
        with self._writing() as connection:
            if cluster is not None:
                _require_clusters(connection, discover, [cluster])
            number = next_cluster(_events(connection), discover) if cluster is None else cluster
            change = Assign(discover=discover, cluster=number, recipe=recipe, new=cluster is None)
            return _insert(connection, change, who, why)

    def adopt(
        self,
        discover: str,
        cluster: int,
        *,
        name: str | None,
        mark: Marking | None,
        notes: Sequence[Remark] = (),
        who: str,
        why: str,
    ) -> list[Event]:
        """Give a cluster what was said of another one: all of it or, on error, nothing."""
        changes: list[Change] = []
        if name:
            changes.append(Name(discover=discover, cluster=cluster, name=name))
        if mark:
            changes.append(Mark(discover=discover, cluster=cluster, mark=mark))
        changes += [Note(discover=discover, cluster=cluster, text=one.carried()) for one in notes]
        with self._writing() as connection:
            _require_clusters(connection, discover, [cluster])
            return [_insert(connection, change, who, why) for change in changes]

    def forget(self, name: str, *, who: str, why: str = "") -> Event:
        """Keep a saved selection no longer."""
        with self._writing() as connection:
            if name not in replay(_events(connection)).selections:
                raise UserError(f"There is no saved selection “{name}” (any more).")
            return _insert(connection, Forget(name=name), who, why)

    # -- the edit cart -------------------------------------------------------------------

    def add(self, edit: Edit, *, who: str, why: str = "") -> Event:
        """Put an edit into the cart."""
        return self._append(Add(edit=edit), who, why or edit.why)

    def remove(self, entry: int, *, who: str, why: str = "") -> Event:
        """Take one entry out of the cart."""
        with self._writing() as connection:
            if entry not in {known.id for known in replay(_events(connection)).cart}:
                raise UserError(f"Entry {entry} is not in the edit cart (any more).")
            return _insert(connection, Drop(entries=(entry,)), who, why)

    def change(self, change: Put | Save | SaveEdit | Verdict, *, who: str, why: str = "") -> Event:
        """Rearrange the cart, save a selection or an edit, or give a verdict."""
        with self._writing() as connection:
            taken = set(change.entries) if isinstance(change, Put) else set[int]()
            if taken - {known.id for known in replay(_events(connection)).cart}:
                raise UserError("The edit cart was changed meanwhile. Look again, then repeat.")
            return _insert(connection, change, who, why)

    def clear(self, *, who: str, why: str = "") -> Event | None:
        """Empty the cart of what is in it now; None when it is empty already."""
        with self._writing() as connection:
            entries = tuple(entry.id for entry in replay(_events(connection)).cart)
            return _insert(connection, Drop(entries=entries), who, why) if entries else None

    # -- undo ----------------------------------------------------------------------------

    def undo(self, event: int | None = None, *, who: str, why: str = "") -> Event:
        """Cancel one event, or the latest one of this person that is still in force."""
        with self._writing() as connection:
            known = in_force(_events(connection))
            own = [e.id for e in known if e.who == who]
            if event is None and not own:
                raise UserError(f"{who} has nothing to undo.")
            target = own[-1] if event is None else event
            if target not in {e.id for e in known}:
                raise UserError(f"Event {target} is undone already, or does not exist.")
            return _insert(connection, Undo(event=target), who, why)

    def redo(self, *, who: str, why: str = "") -> Event:
        """Take back the latest undo of this person, unless they changed something since."""
        with self._writing() as connection:
            target = latest_undo(_events(connection), who)
            if target is None:
                raise UserError(f"{who} has nothing to redo.")
            return _insert(connection, Undo(event=target), who, why)

    def export_labels(self) -> str:
        """Names, marks, notes and recipes of all clusters, and the saved selections, as JSON."""
        return exported(self.state())

    def import_labels(self, text: str, *, who: str, why: str = "imported") -> list[Event]:
        """Take over names, marks, notes and selections of an export; all or, on error, none.

        Merges and splits are shown in an export but not imported: they are another log's history.
        """
        changes = imported(text)
        with self._writing() as connection:
            return [_insert(connection, change, who, why) for change in changes]

    # -- SQLite --------------------------------------------------------------------------

    def _append(self, change: Change, who: str, why: str) -> Event:
        with self._writing() as connection:
            return _insert(connection, change, who, why)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start."""
        if not self._writable:
            raise UserError(LOOKING_ON)
        with connected(self.path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _events(connection: sqlite3.Connection) -> list[Event]:
    rows = connection.execute("SELECT id, time, who, why, change FROM events ORDER BY id")
    return [_event(*row) for row in rows]


def _event(number: Any, when: Any, who: Any, why: Any, change: Any) -> Event:
    try:
        return Event(id=number, time=when, who=who, why=why, change=json.loads(change))
    except (ValueError, TypeError, RecursionError) as error:  # pydantic's is a ValueError
        raise sqlite3.DatabaseError(f"event {number} is damaged") from error


def _insert(connection: sqlite3.Connection, change: Change, who: str, why: str) -> Event:
    if not who.strip():
        raise UserError("A change needs the name of who makes it.")
    now = time.time()
    cursor = connection.execute(
        "INSERT INTO events (time, who, why, change) VALUES (?, ?, ?, ?)",
        (now, who, why, change.model_dump_json()),
    )
    return Event(id=cursor.lastrowid or 0, time=now, who=who, why=why, change=change)


def _require_clusters(
    connection: sqlite3.Connection, discover: str, clusters: Sequence[int]
) -> None:
    labels = replay(_events(connection)).of(discover)
    gone = [cluster for cluster in clusters if not labels.exists(cluster)]
    if gone:
        raise UserError(f"{discover}: there is no cluster {gone[0]} (any more). Reload the page.")
