"""A local HTTP server that speaks the chat-completions protocol, and misbehaves as told.

`behave(number, question) -> Reply` decides what the n-th request (from 0) gets. It counts requests,
how many were under way at once, and keeps what was sent.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.local_server import Quiet, listening


@dataclass
class Reply:
    """`text` as a chat completion; or a `body` of another kind, or no answer before `hold`."""

    text: str = "50"
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None


class ChatServer:
    """What the handler shares."""

    def __init__(self, behave: Callable[[int, dict[str, Any]], Reply]) -> None:
        self.behave = behave
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = self.most_under_way = 0
        self.url = ""

    @property
    def keys(self) -> list[str | None]:
        return [headers.get("Authorization") for headers in self.headers]

    def begin(self, question: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self.lock:
            number = len(self.requests)
            self.requests.append(question)
            self.headers.append(headers)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        return self.behave(number, question)

    def end(self) -> None:
        with self.lock:
            self.under_way -= 1


@contextmanager
def chat_server(
    behave: Callable[[int, dict[str, Any]], Reply], port: int = 0
) -> Iterator[ChatServer]:
    shared = ChatServer(behave)

    class Handler(Quiet):
        def do_POST(self):
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = shared.begin(question, dict(self.headers))
            try:
                assert self.path == "/v1/chat/completions"
                if reply.hold is not None:
                    reply.hold.wait(30)
                body = reply.body if reply.body is not None else completion(reply.text)
                shared.end()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client had no more patience

    with listening(Handler, port) as address:
        shared.url = f"{address}/v1"
        yield shared


def completion(text: str) -> bytes:
    return json.dumps(
        {
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
    ).encode()
