"""HTTP/1.1 on the wire: limits on header size and arrival time, and the fast path.

`BoundedProtocol` overrides methods of uvicorn that uvicorn does not document. So `serve` checks
uvicorn's version, and refuses one that was not tested.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from sessionledger.server.asgi_app import Application
from sessionledger.server.fast_path import CompleteRequest, Endpoint
from sessionledger.server.http.asgi import PlainResponse
from sessionledger.server.http.problems import MEDIA_TYPE, HTTPProblem

FAST_METHODS = {b"GET": "GET", b"POST": "POST"}

TOO_LARGE = HTTPProblem(431, "headers_too_large", "the path and the headers are too large")
TOO_SLOW = HTTPProblem(408, "too_slow", "the request did not arrive in time")
NOT_HTTP = HTTPProblem(400, "invalid_request", "that is not an HTTP/1.1 request")


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits on header size and arrival time, and the fast path.

    A plain request to an endpoint of the fast path waits here for its body. If the endpoint answers
    it at once, no task is started for it. Otherwise uvicorn gets the request as if it just came.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._application = cast(Application, config.app)
        settings = self._application.service.settings
        self._max_header_bytes = settings.max_header_bytes
        self._timeout = settings.request_timeout.total_seconds()
        self._header_bytes = 0
        self._arriving = self._in_headers = True
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: tuple[Endpoint, CompleteRequest] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """A client connected, and may send nothing."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what arrived. A request that is incomplete afterwards is timed."""
        super().data_received(data)
        if self._waiting is not None:
            self._hand_over()
        if self._arriving and self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._header_bytes, self._arriving, self._in_headers = 0, True, True

    def on_url(self, url: bytes) -> None:
        """A part of the path and the query."""
        self._header_bytes += len(url)
        if self._header_bytes > self._max_header_bytes:
            raise TOO_LARGE
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or a trailer, which counts and is dropped."""
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._max_header_bytes:
            raise TOO_LARGE
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All headers are there."""
        self._in_headers = False
        self._waiting = self._fast_request()
        if self._waiting is None:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._waiting is None:
            super().on_body(body)
        else:
            self._waiting[1].content += body

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._arriving = False
        self._stop_timer()
        if self._waiting is not None:
            if self._answer_at_once(*self._waiting):
                self._waiting = None
                return
            self._hand_over()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the problem says it
        """Answer a request that can't be parsed or whose headers are too large, and hang up."""
        self._waiting = None
        too_large = self._header_bytes > self._max_header_bytes
        self._hang_up(TOO_LARGE if too_large else NOT_HTTP)

    def _fast_request(self) -> tuple[Endpoint, CompleteRequest] | None:
        """The request whose headers are complete, if the fast path may answer it."""
        method = FAST_METHODS.get(self.parser.get_method())
        path = self.url.decode("latin-1")
        endpoint = self._application.fast_endpoint(path)
        if endpoint is None or method is None or not self._is_plain() or not self._is_next():
            return None
        return endpoint, CompleteRequest(method, path, self.headers, b"")

    def _is_plain(self) -> bool:
        """Whether the connection is kept after the answer, and the client asks for nothing else."""
        parser = self.parser
        return (
            parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and not self.expect_100_continue
        )

    def _is_next(self) -> bool:
        """Whether no other answer comes first, and this one can be sent."""
        # Before the first request there is no cycle, whatever uvicorn's annotation says.
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return (
            not self.flow.write_paused
            and not self.pipeline
            and not self.transport.is_closing()
            and (cycle is None or cycle.response_complete)
        )

    def _answer_at_once(self, endpoint: Endpoint, request: CompleteRequest) -> bool:
        """Answer the request without a task, if that is possible."""
        client = self.client[0] if self.client else None
        response = self._application.answer_at_once(endpoint, request, client)
        if response is None:
            return False
        self.transport.write(self._encode(response))
        self.on_response_complete()
        return True

    def _encode(self, response: PlainResponse) -> bytes:
        status, headers, body = response
        defaults = b"".join(
            [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        )
        lines = b"content-length: %d\r\n%b\r\n" % (len(body), headers.lines)
        return b"".join((STATUS_LINE[status], defaults, lines, body))

    def _hand_over(self) -> None:
        """Give uvicorn the request, with what has arrived of its body."""
        assert self._waiting is not None
        _, request = self._waiting
        self._waiting = None
        super().on_headers_complete()
        if request.content:
            super().on_body(request.content)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._timeout, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._owes_an_answer():
            self._hang_up(TOO_SLOW)
        else:
            self.transport.close()

    def _owes_an_answer(self) -> bool:
        """Whether the request that arrives is unanswered, and no answer before it is under way."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        if cycle is None:
            return True
        return cycle.response_complete if self._in_headers else not cycle.response_started

    def _hang_up(self, error: HTTPProblem) -> None:
        body = msgspec.json.encode(error.problem)
        status = HTTPStatus(error.problem.status)
        headers = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(headers.encode("ascii") + body)
        self.transport.close()
