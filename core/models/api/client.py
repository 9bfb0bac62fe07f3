"""One question to an OpenAI-compatible endpoint: where to send it, and how long to persist.

`POST <url>/chat/completions`. Rate limits, server errors, timeouts and bodies that are no answer
are tried again with growing pauses, as far apart as the server asks; a refused key or model, and a
redirect, which is never followed, is a `UserError` at once. The key is read from the environment
when it is sent and is in no file, message or record. Needs httpx (the extra `judge`).
`core.models.api.batch` sends many and keeps the answers.
"""

import json
import os
import random
import threading
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator

from core.errors import UserError
from core.models.api.cache import Answer
from core.models.api.url_guard import checked, refuse_metadata

URL, MODEL = "PAIRTRACE_ENDPOINT_URL", "PAIRTRACE_ENDPOINT_MODEL"
KEY = "PAIRTRACE_ENDPOINT_KEY"
LONGEST_PAUSE = 60.0  # seconds between two attempts, whatever the server asks for


class Endpoint(BaseModel):
    """Where to ask, whom, and how patiently. The key comes from $PAIRTRACE_ENDPOINT_KEY."""

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
        return checked(url, KEY) if url else url

    @classmethod
    def from_environment(cls) -> Self | None:
        """The endpoint that the environment names, if it names a model and a URL."""
        model = os.environ.get(MODEL)
        return cls(model=model) if model and os.environ.get(URL) else None

    def address(self) -> str:
        """The URL that questions are posted to."""
        try:
            url = self.url or self.check_url(os.environ.get(URL, ""))
        except ValueError as error:
            raise UserError(f"${URL}: {error}.") from error
        if not url:
            raise UserError(f"No endpoint: give its url, or set ${URL}.")
        return f"{url.removesuffix('/chat/completions')}/chat/completions"


class Outcome(NamedTuple):
    """One question's end: an answer, or why there is none and whether the endpoint seems dead."""

    answer: Answer | None
    problem: str = ""
    silent: bool = False


def persist(
    http: Any, address: str, endpoint: Endpoint, body: dict[str, Any], stop: threading.Event
) -> Outcome:
    """Send one question until it is answered, refused, or has been sent often enough."""
    outcome = Outcome(None, "it was not asked")
    for attempt in range(endpoint.attempts):
        outcome, pause = _once(http, address, body)
        if outcome.answer is not None or pause is None or attempt + 1 == endpoint.attempts:
            break
        growing = endpoint.pause * 2**attempt * random.uniform(0.75, 1.25)  # not all at once
        if stop.wait(min(max(pause, growing), LONGEST_PAUSE)):
            break
    return outcome


def _once(http: Any, address: str, body: dict[str, Any]) -> tuple[Outcome, float | None]:
    """One attempt, and the least pause before another; None where another is no use."""
    httpx = _httpx()
    try:
        got = http.post(address, content=json.dumps(body))  # ASCII: half a surrogate passes too
    except httpx.TimeoutException:
        return Outcome(None, "no answer in time", silent=True), 0
    except httpx.RequestError as error:
        return Outcome(None, f"cannot be reached ({type(error).__name__})", silent=True), 0
    except httpx.InvalidURL as error:
        raise UserError(f"{address!r} is no address: {error}.") from error
    if got.is_redirect:
        raise UserError(
            f"{address}: answers that it has moved (HTTP {got.status_code}). Redirects are not "
            "followed: give the address that it moved to, if you know it."
        )
    if got.status_code in (401, 403, 404):
        raise UserError(
            f"{address}: HTTP {got.status_code}. Check the url, the name of the model "
            f"({body['model']!r}) and the key in ${KEY}."
        )
    if got.status_code in (408, 409, 425, 429) or got.status_code >= 500:
        return Outcome(None, f"HTTP {got.status_code}", silent=True), _wish(got.headers)
    if got.status_code >= 400:  # this question is refused: too long, filtered
        return Outcome(None, f"HTTP {got.status_code}"), None
    answer = _read(got)
    return Outcome(answer, "" if answer else "a body that is no chat completion"), 0


def _read(got: Any) -> Answer | None:
    """The answer in a response, or None where the body is no chat completion."""
    try:
        said = got.json()
        text = said["choices"][0]["message"]["content"]
        used = said.get("usage") or {}
        counts = (int(used.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
        return Answer(text, *counts) if isinstance(text, str) else None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _wish(headers: Any) -> float:
    """Seconds that the server asks us to wait."""
    wanted = headers.get("Retry-After", "0")
    try:
        return max(0.0, float(wanted))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(wanted).timestamp() - time())
    except ValueError:
        return 0.0


def client(endpoint: Endpoint) -> Any:
    """An httpx client that carries the key; safe to share between threads.

    Before each question it looks up what the address stands for by then.
    """
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"${KEY} holds letters that no key has. Copy the key again.")
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    return _httpx().Client(
        headers=headers,
        timeout=endpoint.timeout,
        follow_redirects=False,
        event_hooks={"request": [lambda request: refuse_metadata(request.url.host)]},
    )


def _httpx() -> Any:
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise UserError(
            "Asking an endpoint needs httpx. Install it with `pip install 'pairtrace[judge]'`."
        ) from error
    return httpx
