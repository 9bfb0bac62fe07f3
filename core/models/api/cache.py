"""Answers of a language model on disk, found again by the content of the question.

One SQLite file; the key is the SHA-256 of the whole request (model, messages, settings), so that a
changed word asks anew and an unchanged one never pays twice. Several processes may write at once.
Holds no keys and no addresses.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import in_database

CHUNK = 500  # keys in one query
BUSY_SECONDS = 60.0  # how long to wait for another process
DAMAGED = "Delete the file to ask everything again."


class Answer(NamedTuple):
    """What the model said, and the tokens that it read and wrote."""

    text: str
    prompt_tokens: int
    completion_tokens: int


def key_of(request: dict[str, Any]) -> str:
    """The same request has the same key."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class Answers:
    """The answers in one file, made when first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers that are known, by key."""
        found: dict[str, Answer] = {}
        with self._open() as database:
            for start in range(0, len(keys), CHUNK):
                some = keys[start : start + CHUNK]
                marks = ",".join("?" * len(some))
                rows = database.execute(f"SELECT * FROM answers WHERE key IN ({marks})", some)
                found |= {key: Answer(*rest) for key, *rest in rows}
        return found

    def write(self, key: str, answer: Answer) -> None:
        """Keep one answer; it is on disk when this returns."""
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, *answer))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as database, database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute(
                    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT, "
                    "prompt_tokens INTEGER, completion_tokens INTEGER)"
                )
                yield database
        except sqlite3.DatabaseError as error:
            raise in_database(self.path, error, DAMAGED) from error
