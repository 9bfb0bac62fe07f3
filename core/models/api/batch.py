"""Many questions to a language model at a time; every answer is kept on disk and asked for once.

The answers are one SQLite file. The key of an answer is the SHA-256 of the complete request (model,
messages, settings): a changed word is a new question, and an unchanged one never costs twice.
Answers are written as they come, so a stop, a crash or a dead endpoint loses none, and several
processes may write at once. `Journal` keeps those of one run instead, millions of them, as lines
that only its process appends. What has no answer in the end is None, never a guess; an endpoint
that gives no sign of life is a `UserError`. The files contain no keys and no addresses. Knows
nothing of what is asked.
"""

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from core.errors import UserError, in_database
from core.models.api.client import Answer, Endpoint, Outcome, client, persist

DOWN_AFTER = 8  # questions in a row without any sign of life
CHUNK = 500  # keys in one query
BUSY_SECONDS = 60.0  # how long to wait for another process
DAMAGED = "Delete the file to ask everything again."

BEAT = 0.5  # seconds between two looks at what came

K = TypeVar("K")
Message = dict[str, str]  # role, content
Report = Callable[[int, int], None]


class Answers:
    """The answers in one file, which is created when it is first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers that are in the file, by key."""
        answers: dict[str, Answer] = {}
        with self._open() as database:
            for start in range(0, len(keys), CHUNK):
                some = keys[start : start + CHUNK]
                marks = ",".join("?" * len(some))
                rows = database.execute(f"SELECT * FROM answers WHERE key IN ({marks})", some)
                answers |= {key: Answer(*rest) for key, *rest in rows}
        return answers

    def write(self, key: str, answer: Answer) -> None:
        """Keep one answer; it is on disk when this returns."""
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (key, *answer[:3])
            )

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


class Journal:
    """Completions so far: a file of JSON lines, appended to once a second, and what they took.

    A line is a completion, or the seconds since the one before. One process writes it, that of the
    run; a line that a kill broke off is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[tuple[int, int], Answer] = {}
        names = ("requests", "retries", "prompt_tokens", "completion_tokens", "seconds")
        self.totals: dict[str, float] = dict.fromkeys(names, 0)
        self.lines: list[str] = []
        self.since = time.monotonic()
        complete = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        for number, line in enumerate(complete.splitlines(), start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(f"{path}, line {number}: damaged. Delete the file.") from error
        if path.exists() and path.stat().st_size > len(complete) + 1:
            with path.open("r+b") as stream:
                stream.truncate(len(complete) + (1 if complete else 0))

    def __enter__(self) -> "Journal":
        self.since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def missing(self, at: int, rows: int) -> list[int]:
        """Which of so many rows of a server have no completion."""
        return [row for row in range(rows) if (at, row) not in self.answers]

    def add(self, at: int, row: int, answer: Answer, attempts: int) -> None:
        """Keep the completion of one row of one server."""
        self._append({"row": [at, row, *answer], "attempts": attempts})

    def beat(self) -> None:
        """Write what came in, at most once a second."""
        if time.monotonic() - self.since > 1:
            self._write()

    def _write(self) -> None:
        now = time.monotonic()
        if self.lines:
            self._append({"seconds": round(now - self.since, 3)})
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write("".join(self.lines))
        self.lines, self.since = [], now

    def _append(self, record: dict[str, Any]) -> None:
        self._take(record)
        self.lines.append(json.dumps(record) + "\n")  # ASCII: no half of a surrogate pair

    def _take(self, record: dict[str, Any]) -> None:
        self.totals["seconds"] += record.get("seconds", 0)
        if "row" in record:
            at, row, *rest = record["row"]
            answer = self.answers[at, row] = Answer(*rest)
            self.totals["requests"] += record["attempts"]
            self.totals["retries"] += record["attempts"] - 1
            self.totals["prompt_tokens"] += answer.prompt_tokens
            self.totals["completion_tokens"] += answer.completion_tokens


@dataclass
class Usage:
    """What asking cost this time; answers from disk cost nothing."""

    asked: int = 0
    from_disk: int = 0
    unanswered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0

    def add(self, other: "Usage") -> None:
        """Count another round too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def count(self, answer: Answer, endpoint: Endpoint) -> None:
        """Count one new answer."""
        self.asked += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.dollars += (
            answer.prompt_tokens * endpoint.dollars_per_million_prompt_tokens
            + answer.completion_tokens * endpoint.dollars_per_million_completion_tokens
        ) / 1e6


def ask(
    endpoint: Endpoint,
    conversations: Sequence[Sequence[Message]],
    answers: Answers,
    *,
    progress: Report | None = None,
) -> tuple[list[str | None], Usage]:
    """The answer to each conversation, None where there is none, and what it cost.

    Raises `UserError` where the endpoint cannot be reached or refuses us; answers that came before
    are on disk by then.
    """
    questions = [_question(endpoint, conversation) for conversation in conversations]
    keys = [_key(question) for question in questions]
    texts = answers.read(keys)
    missing = {
        key: question for key, question in zip(keys, questions, strict=True) if key not in texts
    }
    usage = Usage(from_disk=len(set(keys)) - len(missing))
    silent, problem = 0, ""
    for number, (key, outcome) in enumerate(_outcomes(endpoint, missing), start=1):
        silent = silent + 1 if outcome.silent else 0
        if outcome.answer is None:
            usage.unanswered += 1
            problem = outcome.problem
        else:
            texts[key] = outcome.answer
            answers.write(key, outcome.answer)
            usage.count(outcome.answer, endpoint)
        if silent >= min(DOWN_AFTER, len(missing)):
            raise UserError(
                f"{endpoint.address()} does not answer: {problem}, {endpoint.attempts} times each. "
                f"Is it running? The {len(texts)} answers so far are kept; start again and only "
                "the rest is asked."
            )
        if progress is not None:
            progress(number, len(missing))
    return [texts[key].text if key in texts else None for key in keys], usage


def _question(endpoint: Endpoint, conversation: Sequence[Message]) -> dict[str, Any]:
    return {
        "model": endpoint.model,
        "messages": list(conversation),
        "temperature": 0,
        "max_tokens": endpoint.max_tokens,
    }


def _key(question: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def _outcomes(
    endpoint: Endpoint, missing: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, Outcome]]:
    """Each question's outcome as it comes."""
    if not missing:
        return
    with client(endpoint) as api:

        def ask_one(_: int, key: str, stop: threading.Event) -> Outcome:
            return persist(api, endpoint, missing[key], stop)

        with closing(under_way(ask_one, [iter(missing)], [endpoint.concurrency])) as outcomes:
            for _, key, outcome in outcomes:
                if outcome is not None:
                    yield key, outcome


def under_way(
    ask_one: Callable[[int, K, threading.Event], Outcome],
    queues: Sequence[Iterator[K]],
    widths: Sequence[int],
) -> Generator[tuple[int, K, Outcome | None]]:
    """(queue, key, outcome) as outcomes come; at least twice a second, without one.

    `ask_one(queue, key, stop)` asks a question, in threads, of each queue as many at a time as
    `widths` has. When the reader stops, what has not begun is dropped.
    """
    pending: dict[Future[Outcome], tuple[int, K]] = {}
    stop, pool = threading.Event(), ThreadPoolExecutor(sum(widths))

    def refill(queue: int) -> None:
        for key in islice(queues[queue], 1):
            pending[pool.submit(ask_one, queue, key, stop)] = (queue, key)

    try:
        for queue, width in enumerate(widths):
            for _ in range(width):
                refill(queue)
        while pending:
            done, _ = wait(pending, BEAT, FIRST_COMPLETED)
            if not done:
                yield *next(iter(pending.values())), None
            for future in done:
                queue, key = pending.pop(future)
                refill(queue)
                yield queue, key, future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
