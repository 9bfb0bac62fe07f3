"""Ask a language model many questions at a time, and keep every answer.

A question that was answered before is read from `Answers` on disk and costs nothing; new answers
are kept as they come, so a stop, a crash or a dead endpoint loses none. What has no answer in the
end is None, never a guess; an endpoint that gives no sign of life is a `UserError`. Knows nothing
of what is asked.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from core.errors import UserError
from core.models.api.cache import Answer, Answers, key_of
from core.models.api.client import Endpoint, Outcome, client, persist

DOWN_AFTER = 8  # questions in a row without any sign of life

Message = dict[str, str]  # role, content
Report = Callable[[int, int], None]


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
    bodies = [_body(endpoint, conversation) for conversation in conversations]
    keys = [key_of(body) for body in bodies]
    known = answers.read(keys)
    missing = {key: body for key, body in zip(keys, bodies, strict=True) if key not in known}
    usage = Usage(from_disk=len(set(keys)) - len(missing))
    silent, problem = 0, ""
    for number, (key, outcome) in enumerate(_outcomes(endpoint, missing), start=1):
        silent = silent + 1 if outcome.silent else 0
        if outcome.answer is None:
            usage.unanswered += 1
            problem = outcome.problem
        else:
            known[key] = outcome.answer
            answers.write(key, outcome.answer)
            _count(usage, outcome.answer, endpoint)
        if silent >= min(DOWN_AFTER, len(missing)):
            raise UserError(_down(endpoint, problem, len(known)))
        if progress is not None:
            progress(number, len(missing))
    return [known[key].text if key in known else None for key in keys], usage


def _body(endpoint: Endpoint, conversation: Sequence[Message]) -> dict[str, Any]:
    return {
        "model": endpoint.model,
        "messages": list(conversation),
        "temperature": 0,
        "max_tokens": endpoint.max_tokens,
    }


def _outcomes(
    endpoint: Endpoint, missing: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, Outcome]]:
    """Each question's outcome as it comes; when the reader stops, what has not begun is dropped."""
    if not missing:
        return
    stop = threading.Event()
    with (
        client(endpoint) as http,
        ThreadPoolExecutor(endpoint.concurrency) as pool,
    ):
        address = endpoint.address()
        asked: dict[Future[Outcome], str] = {
            pool.submit(persist, http, address, endpoint, body, stop): key
            for key, body in missing.items()
        }
        try:
            for future in as_completed(asked):
                yield asked[future], future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _count(usage: Usage, answer: Answer, endpoint: Endpoint) -> None:
    usage.asked += 1
    usage.prompt_tokens += answer.prompt_tokens
    usage.completion_tokens += answer.completion_tokens
    usage.dollars += (
        answer.prompt_tokens * endpoint.dollars_per_million_prompt_tokens
        + answer.completion_tokens * endpoint.dollars_per_million_completion_tokens
    ) / 1e6


def _down(endpoint: Endpoint, problem: str, kept: int) -> str:
    return (
        f"{endpoint.address()} does not answer: {problem}, {endpoint.attempts} times each. Is it "
        f"running? The {kept} answers so far are kept; start again and only the rest is asked."
    )
