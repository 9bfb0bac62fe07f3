"""The catalog's SQLite file: made once, waited for while another process holds it.

A connection lives for one call. Whatever SQLite refuses is a `UserError` that names the file and
says what to do. A file that was emptied is no new one: what it held would be gone without a word.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

from core.errors import UserError, in_database

BUSY_SECONDS = 60.0  # how long a writer waits for another one
DAMAGED = (
    "It holds names, marks, notes and the edit cart, and nothing else. Put a copy of it back; "
    "without one, move it and the files named like it away to begin anew: the runs stay."
)
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, who TEXT NOT NULL,
    why TEXT NOT NULL, change TEXT NOT NULL
)
"""


def make(path: Path) -> None:
    """The file where there is none, by one process alone; refused where it was emptied."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext() if _size(path) else FileLock(f"{path}.lock"):
        if _size(path) == 0:
            raise UserError(f"{path}: it is empty. {DAMAGED}")
        with connected(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(SCHEMA)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without a transaction."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            yield connection
    except sqlite3.DatabaseError as error:
        raise in_database(path, error, DAMAGED) from error


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
