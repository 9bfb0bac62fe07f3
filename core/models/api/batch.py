"""Many questions to a language model at a time; every answer is kept on disk and asked for once.

The answers are one SQLite file. The key of an answer is the SHA-256 of the whole request (model,
messages, settings): a changed word is a new question, and an unchanged one never costs twice.
Answers are written as they come, so a stop, a crash or a dead endpoint loses none, and several
processes may write at once. What has no answer in the end is None, never a guess; an endpoint that
gives no sign of life is a `UserError`. The file contains no keys and no addresses. Knows nothing of
what is asked.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError, in_database
from core.models.api.client import Answer, Endpoint, Outcome, client, persist

DOWN_AFTER = 8  # questions in a row without any sign of life
CHUNK = 500  # keys in one query
BUSY_SECONDS = 60.0  # how long to wait for another process
DAMAGED = "Delete the file to ask everything again."

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
    """Each question's outcome as it comes; when the reader stops, what has not begun is dropped."""
    if not missing:
        return
    stop = threading.Event()
    with client(endpoint) as api, ThreadPoolExecutor(endpoint.concurrency) as pool:
        futures: dict[Future[Outcome], str] = {
            pool.submit(persist, api, endpoint, question, stop): key
            for key, question in missing.items()
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
