"""A local HTTP server that speaks the completions protocols, and misbehaves as told.

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
    """`text` as a completion; or a `body` of another kind, or no answer before `hold`."""

    text: str = "50"
    finish: str = "stop"
    tokens: tuple[int, int] = (100, 10)  # read, written
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None


class ChatServer:
    """What the handler shares."""

    def __init__(self, behave: Callable[[int, dict[str, Any]], Reply]) -> None:
        self.behave = behave
        self.models: list[str] = []
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
        def do_GET(self):
            assert self.path == "/v1/models"
            names = [{"id": name, "object": "model"} for name in shared.models]
            body = json.dumps({"object": "list", "data": names}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = shared.begin(question, dict(self.headers))
            try:
                chat = "messages" in question
                assert self.path == f"/v1{'/chat' if chat else ''}/completions"
                if reply.hold is not None:
                    reply.hold.wait(30)
                body = reply.body if reply.body is not None else completion(reply, chat)
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


def completion(reply: Reply, chat: bool) -> bytes:
    choice = {"index": 0, "finish_reason": reply.finish}
    text = {"message": {"role": "assistant", "content": reply.text}} if chat else {}
    read, written = reply.tokens
    return json.dumps(
        {
            "object": "chat.completion" if chat else "text_completion",
            "choices": [choice | (text or {"text": reply.text})],
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            },
        }
    ).encode()
