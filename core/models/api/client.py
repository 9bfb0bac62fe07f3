"""One question to an OpenAI-compatible endpoint: where to send it, and how long to persist.

`POST <url>/chat/completions`, or `/completions` for a question that is a text, by the `openai`
client (the extra `judge`). Rate limits, server errors, timeouts and bodies that are no answer are
tried again with growing pauses, as far apart as the server asks; a refused key or model, and a
redirect, which is never followed, is a `UserError` at once. The key is read from the environment
when it is sent and is in no file, message or record. `core.models.api.batch` sends many and keeps
the answers.
"""

import random
import threading
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator

from core.environment import (
    ENDPOINT_KEY,
    ENDPOINT_URL,
    endpoint_key,
    endpoint_model,
    endpoint_url,
)
from core.errors import UserError
from core.models.api.url_guard import checked, refuse_metadata

PATH = "/chat/completions"
LONGEST_PAUSE = 60.0  # seconds between two attempts, whatever the server asks for
REASON = 200  # characters of a server's own words
SENT = {  # headers; not those in which the library describes this machine and $OPENAI_…
    *("host", "connection", "accept", "accept-encoding", "user-agent"),
    *("content-type", "content-length"),
}


class Endpoint(BaseModel):
    """Where to ask, which model, and how patiently; the key is $PAIRTRACE_ENDPOINT_KEY."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str = Field(min_length=1, description="name that the endpoint knows the model by")
    url: str = Field("", description="such as https://host/v1; empty: $PAIRTRACE_ENDPOINT_URL")
    timeout: PositiveFloat = Field(60, description="seconds to wait for an answer")
    attempts: PositiveInt = Field(5, description="how often a question is sent at most")
    pause: PositiveFloat = Field(1, description="seconds before the second attempt; then doubled")
    concurrency: PositiveInt = Field(8, description="questions under way at a time")
    max_tokens: PositiveInt = Field(256, description="length of an answer at most")
    dollars_per_million_prompt_tokens: float = Field(0, ge=0, description="price of reading")
    dollars_per_million_completion_tokens: float = Field(0, ge=0, description="price of writing")

    @field_validator("url")
    @classmethod
    def check_url(cls, url: str) -> str:
        """An address that may be asked, without a name or key in it; or none."""
        return checked(url, ENDPOINT_KEY) if url else url

    @classmethod
    def from_environment(cls) -> Self | None:
        """The endpoint that the environment names, if it names a model and a URL."""
        model = endpoint_model()
        return cls(model=model) if model and endpoint_url() else None

    def address(self) -> str:
        """The URL that questions are posted to."""
        try:
            url = self.url or self.check_url(endpoint_url())
        except ValueError as error:
            raise UserError(f"${ENDPOINT_URL}: {error}.") from error
        if not url:
            raise UserError(f"No endpoint: give its url, or set ${ENDPOINT_URL}.")
        return f"{url.removesuffix(PATH)}{PATH}"


class Answer(NamedTuple):
    """A model's text, the tokens that it read and wrote, and why it ended in the server's words."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str = ""


class Outcome(NamedTuple):
    """One question's end: an answer, or why there is none and whether the endpoint seems dead."""

    answer: Answer | None
    problem: str = ""
    silent: bool = False
    attempts: int = 1


def client(endpoint: Endpoint) -> Any:
    """An `openai` client that carries the key; safe to share between threads.

    Every request is vetted before it is sent: where its address leads by then, and its headers.
    """
    try:
        import httpx2
        import openai
    except ModuleNotFoundError as error:
        raise UserError(
            "Asking an endpoint needs openai. Install it with `pip install 'pairtrace[judge]'`."
        ) from error
    key, address = endpoint_key(), endpoint.address()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"${ENDPOINT_KEY} has letters that no key has. Copy the key again.")

    def vet(request: Any) -> None:
        refuse_metadata(request.url.host)
        for name in {*request.headers} - SENT:
            del request.headers[name]
        if key:
            request.headers["Authorization"] = f"Bearer {key}"

    http = openai.DefaultHttpxClient(
        timeout=endpoint.timeout, follow_redirects=False, event_hooks={"request": [vet]}
    )
    try:
        return openai.OpenAI(
            base_url=address.removesuffix(PATH),
            api_key="set by vet",
            timeout=endpoint.timeout,
            max_retries=0,  # its pauses are not the endpoint's, and cannot be interrupted
            http_client=http,
        )
    except httpx2.InvalidURL as error:
        raise UserError(f"{address!r} is no address: {error}.") from error


def persist(
    api: Any, endpoint: Endpoint, question: dict[str, Any], stop: threading.Event
) -> Outcome:
    """Send one question until it is answered, refused, or has been sent often enough."""
    outcome = Outcome(None, "it was not asked")
    for attempt in range(endpoint.attempts):
        outcome, pause = _attempt(api, endpoint, question)
        if outcome.answer is not None or pause is None or attempt + 1 == endpoint.attempts:
            break
        growing = endpoint.pause * 2**attempt * random.uniform(0.75, 1.25)  # not all at once
        if stop.wait(min(max(pause, growing), LONGEST_PAUSE)):
            break
    return outcome._replace(attempts=attempt + 1)


def _attempt(
    api: Any, endpoint: Endpoint, question: dict[str, Any]
) -> tuple[Outcome, float | None]:
    """One attempt, and the least pause before another; None where another is no use."""
    import openai

    rest = {name: _without_halves(value) for name, value in question.items()}
    try:
        if "messages" in question:
            named = {name: rest.pop(name) for name in ("model", "messages")}
            answer = _read(api.chat.completions.create(**named, extra_body=rest))
        else:
            named = {name: rest.pop(name) for name in ("model", "prompt")}
            answer = _read(api.completions.create(**named, extra_body=rest))
    except openai.APITimeoutError:
        return Outcome(None, "no answer in time", silent=True), 0
    except openai.APIConnectionError as error:
        reason = type(error.__cause__).__name__
        return Outcome(None, f"cannot be reached ({reason})", silent=True), 0
    except openai.APIStatusError as error:
        return _refused(endpoint, error.response)
    except ValueError:  # a body that is no JSON
        answer = None
    return Outcome(answer, "" if answer else "a body that is no chat completion"), 0


def _refused(endpoint: Endpoint, response: Any) -> tuple[Outcome, float | None]:
    status = response.status_code
    if response.is_redirect:
        raise UserError(
            f"{endpoint.address()}: answers that it has moved (HTTP {status}). Redirects are not "
            "followed: give the address that it moved to, if you know it."
        ) from None  # the library's error repeats the body, which may repeat the key
    if status in (401, 403, 404):
        raise UserError(
            f"{endpoint.address()}: HTTP {status}. Check the url, the name of the model "
            f"({endpoint.model!r}) and the key in ${ENDPOINT_KEY}."
        ) from None
    if status in (408, 409, 425, 429) or status >= 500:
        return Outcome(None, f"HTTP {status}", silent=True), _retry_after(response.headers)
    # this question is refused: too long, filtered, a parameter that the server does not know
    return Outcome(None, f"HTTP {status}{_reason(response)}"), None


def _reason(response: Any) -> str:
    """What the server says against a question, in one line, without the key."""
    try:
        body = response.json()
        message = body.get("error", body.get("detail", body.get("message", "")))
        message = message.get("message", "") if isinstance(message, dict) else message
    except (ValueError, AttributeError):
        return ""
    message = " ".join(str(message).split())
    key = endpoint_key()
    message = message.replace(key, "…") if key else message
    return f" ({message[:REASON]})" if message else ""


def _read(completion: Any) -> Answer | None:
    """The answer in a completion; None in any other body, which the library lets pass."""
    try:
        choice, usage = completion.choices[0], completion.usage
        text = choice.message.content if hasattr(choice, "message") else choice.text
        names = ("prompt_tokens", "completion_tokens")
        read, written = (int(getattr(usage, name, 0) or 0) for name in names)
        finish = str(getattr(choice, "finish_reason", "") or "")
        return Answer(text, read, written, finish) if isinstance(text, str) else None
    except (ValueError, IndexError, TypeError, AttributeError):
        return None


def _without_halves(value: Any) -> Any:
    """With U+FFFD for half a surrogate pair, which UTF-8 cannot express, in every text."""
    if isinstance(value, dict):
        return {name: _without_halves(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_halves(part) for part in value]
    if not isinstance(value, str):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _retry_after(headers: Any) -> float:
    """Seconds that the server asks us to wait."""
    value = headers.get("Retry-After", "0")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return 0.0
