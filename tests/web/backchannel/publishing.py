"""A server of a provider's keys, which behaves or misbehaves as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sessionledger.testing.fixtures import PATIENCE


class Publisher:
    """Answers with `document`; a text as `redirect` is where it sends its clients instead."""

    def __init__(self) -> None:
        self.document = b""
        self.status = 200
        self.redirect = ""
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_asked = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/jwks"

    @contextmanager
    def running(self) -> Iterator[Publisher]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.may_answer.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join(PATIENCE)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append(self.path)
                publisher.is_asked.set()
                publisher.may_answer.wait(PATIENCE)
                redirect = publisher.redirect and self.path == "/jwks"
                self.send_response(302 if redirect else publisher.status)
                if redirect:
                    self.send_header("location", publisher.redirect)
                self.end_headers()
                try:
                    self.wfile.write(publisher.document)
                except OSError:  # it was too much for the client, who is gone
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
