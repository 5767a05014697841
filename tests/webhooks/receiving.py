"""A real receiver of webhooks: an HTTP server that answers as told, and keeps all it got."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from standardwebhooks.webhooks import Webhook

from sessionledger.testing.fixtures import PATIENCE


class Received(msgspec.Struct, frozen=True):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = msgspec.json.decode(self.body)
        return message

    @property
    def event(self) -> int:
        return int(self.message["data"]["event_id"])

    def verified(self, secret: str) -> Any:
        """What the reference library makes of it. Raises for a signature that does not hold."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Answers 204, or the next of `answers`, a text among them being where it redirects to; not
    before it may."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.answers: list[int | str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/hook"

    @property
    def events(self) -> list[int]:
        return [one.event for one in self.got]

    def wait_for(self, number: int) -> list[Received]:
        """What was received, once it is as many as that."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.got) >= number, PATIENCE)
            return list(self.got)

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(PATIENCE)

    def _take(self, received: Received) -> int | str:
        self.may_answer.wait(PATIENCE)
        with self._came:
            self.got.append(received)
            self._came.notify_all()
            return self.answers.pop(0) if self.answers else 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver._take(Received(self.path, headers, body))
                self.send_response(answer if isinstance(answer, int) else 302)
                if isinstance(answer, str):
                    self.send_header("location", answer)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
