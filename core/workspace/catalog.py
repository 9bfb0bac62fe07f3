"""The catalog: the log of what people decided, in one SQLite file.

Append-only: cluster labels, merges, saved selections, the edit cart and verdicts. Every write takes
SQLite's write lock before it reads, so changes of two people are serialized and none is lost; the
current state is replayed from the log (core.workspace.labels). A connection lives for one call, so
threads may share a catalog. What SQLite refuses is a `UserError` that names the file and says what
to do. A new file gets its name once it is complete, so an empty one has been damaged.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from core.errors import READ_ONLY, UserError, in_database
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
    Undo,
    Verdict,
)
from core.specs.recipes import Edit, Recipe
from core.storage.atomic import file_lock
from core.workspace import label_files
from core.workspace.labels import (
    Remark,
    State,
    about,
    in_force,
    latest_undo,
    next_cluster,
    replay,
)

BUSY_SECONDS = 60.0  # how long a writer waits for another one
DAMAGED = (
    "It contains names, marks, notes and the edit cart, and nothing else. Restore a copy of it; "
    "without one, move it and the files named like it away to start over: the runs stay."
)
BESIDE = ("-journal", "-wal", "-shm")  # SQLite's own files, of no use without the main one
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, who TEXT NOT NULL,
    why TEXT NOT NULL, change TEXT NOT NULL
)
"""


class Catalog:
    """The catalog of one workspace. Writers name themselves (`who`) and may say `why`."""

    def __init__(self, workspace: Path, *, writable: bool = True) -> None:
        self._writable = writable
        self.path = workspace / "catalog.sqlite"
        _make(self.path)

    # -- reading -------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """The whole log, oldest first."""
        with _connected(self.path) as connection:
            return _events(connection)

    def state(self) -> State:
        """The current state."""
        return replay(self.events())

    # -- clusters ------------------------------------------------------------------------

    def rename(self, discover: str, cluster: int, name: str, *, who: str, why: str = "") -> Event:
        """Name a cluster; an empty name removes the name."""
        return self._append(Name(discover=discover, cluster=cluster, name=name.strip()), who, why)

    def mark(
        self, discover: str, cluster: int, mark: Marking | None, *, who: str, why: str = ""
    ) -> Event:
        """Mark a cluster harmful, unwanted, wanted or to be ignored; None removes the mark."""
        return self._append(Mark(discover=discover, cluster=cluster, mark=mark), who, why)

    def note(self, discover: str, cluster: int, text: str, *, who: str, why: str = "") -> Event:
        """Write a note on a cluster."""
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
        """Give a cluster the labels of another one: all of them or, on error, none."""
        changes: list[Change] = []
        if name:
            changes.append(Name(discover=discover, cluster=cluster, name=name))
        if mark:
            changes.append(Mark(discover=discover, cluster=cluster, mark=mark))
        changes += [Note(discover=discover, cluster=cluster, text=note.carried()) for note in notes]
        with self._writing() as connection:
            _require_clusters(connection, discover, [cluster])
            return [_insert(connection, change, who, why) for change in changes]

    def import_labels(self, text: str, *, who: str, why: str = "imported") -> list[Event]:
        """Take over the labels and selections of a JSON export; all or, on error, none."""
        changes = label_files.read_json(text)
        with self._writing() as connection:
            return [_insert(connection, change, who, why) for change in changes]

    def forget(self, name: str, *, who: str, why: str = "") -> Event:
        """Delete a saved selection."""
        with self._writing() as connection:
            if name not in replay(_events(connection)).selections:
                raise UserError(f"There is no saved selection “{name}” (any more).")
            return _insert(connection, Forget(name=name), who, why)

    # -- the edit cart -------------------------------------------------------------------

    def add(self, edit: Edit, *, who: str, why: str = "") -> Event:
        """Put an edit into the cart."""
        return self._append(Add(edit=edit), who, why or edit.why)

    def remove(self, entry: int, *, who: str, why: str = "") -> Event:
        """Remove one entry from the cart."""
        with self._writing() as connection:
            if entry not in _cart(connection):
                raise UserError(f"Entry {entry} is not in the edit cart (any more).")
            return _insert(connection, Drop(entries=(entry,)), who, why)

    def change(self, change: Put | Save | SaveEdit | Verdict, *, who: str, why: str = "") -> Event:
        """Rearrange the cart, save a selection or an edit, or give a verdict."""
        with self._writing() as connection:
            if isinstance(change, Put) and set(change.entries) - _cart(connection):
                raise UserError("The edit cart has changed meanwhile. Look again, then repeat.")
            return _insert(connection, change, who, why)

    # -- undo ----------------------------------------------------------------------------

    def undo(self, event: int | None = None, *, who: str, why: str = "") -> Event:
        """Cancel one event, or the latest one of this person that is in force."""
        with self._writing() as connection:
            events = in_force(_events(connection))
            theirs = [e.id for e in events if e.who == who]
            if event is None and not theirs:
                raise UserError(f"{who} has nothing to undo.")
            target = theirs[-1] if event is None else event
            if target not in {e.id for e in events}:
                raise UserError(f"Event {target} is undone already, or does not exist.")
            return _insert(connection, Undo(event=target), who, why)

    def redo(self, changes: tuple[type, ...] = (object,), *, who: str, why: str = "") -> Event:
        """Cancel the latest undo of this person, unless they changed something since.

        Only some classes of `changes` count: labels and the edit cart are undone apart.
        """
        with self._writing() as connection:
            target = latest_undo(about(_events(connection), changes), who)
            if target is None:
                raise UserError(f"{who} has nothing to redo.")
            return _insert(connection, Undo(event=target), who, why)

    # -- writing -------------------------------------------------------------------------

    def _append(self, change: Change, who: str, why: str) -> Event:
        with self._writing() as connection:
            return _insert(connection, change, who, why)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that has the write lock from its start."""
        if not self._writable:
            raise UserError(READ_ONLY)
        with _connected(self.path) as connection:
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


def _cart(connection: sqlite3.Connection) -> set[int]:
    return {entry.id for entry in replay(_events(connection)).cart}


def _require_clusters(
    connection: sqlite3.Connection, discover: str, clusters: Sequence[int]
) -> None:
    labels = replay(_events(connection)).of(discover)
    gone = [cluster for cluster in clusters if not labels.exists(cluster)]
    if gone:
        raise UserError(f"{discover}: there is no cluster {gone[0]} (any more). Reload the page.")


# -- the SQLite file ---------------------------------------------------------------------


def _make(path: Path) -> None:
    """Create the file where there is none, in one process only. `UserError` if it is empty."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(f"{path}.lock"):
            if not path.exists():
                _make_atomically(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: it is empty. {DAMAGED}")
    with _connected(path) as connection:
        connection.execute(SCHEMA)


def _make_atomically(path: Path) -> None:
    """Create the file under another name and rename it; delete what an earlier attempt left."""
    part = path.with_name(f"{path.name}.part")
    for left in (part, *(Path(f"{name}{end}") for name in (part, path) for end in BESIDE)):
        left.unlink(missing_ok=True)
    with _connected(part) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(SCHEMA)
    os.replace(part, path)


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without a transaction."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            yield connection
    except sqlite3.DatabaseError as error:
        raise in_database(path, error, DAMAGED) from error
