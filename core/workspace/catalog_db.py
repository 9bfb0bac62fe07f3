"""The catalog's SQLite file: made once, waited for while another process holds it.

A connection lives for one call. Whatever SQLite refuses is a `UserError` that names the file and
says what to do. A new file gets its name when it is whole: whatever ends the process that makes it,
one that is empty was emptied, and what it held would be gone without a word.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

from core.errors import UserError, in_database

BUSY_SECONDS = 60.0  # how long a writer waits for another one
DAMAGED = (
    "It holds names, marks, notes and the edit cart, and nothing else. Put a copy of it back; "
    "without one, move it and the files named like it away to begin anew: the runs stay."
)
BESIDE = ("-journal", "-wal", "-shm")  # SQLite's own files, of no use without the main one
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, who TEXT NOT NULL,
    why TEXT NOT NULL, change TEXT NOT NULL
)
"""


def make(path: Path) -> None:
    """The file where there is none, by one process alone; refused where it was emptied."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                _make_whole(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: it is empty. {DAMAGED}")
    with connected(path) as connection:
        connection.execute(SCHEMA)


def _make_whole(path: Path) -> None:
    """Under another name first; what an earlier attempt left of it is in nobody's use."""
    part = path.with_name(f"{path.name}.part")
    for left in (part, *(Path(f"{one}{end}") for one in (part, path) for end in BESIDE)):
        left.unlink(missing_ok=True)
    with connected(part) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(SCHEMA)
    os.replace(part, path)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without a transaction."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            yield connection
    except sqlite3.DatabaseError as error:
        raise in_database(path, error, DAMAGED) from error
