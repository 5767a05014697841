"""HTTP/1.1 on the wire: with bounds, on the size of a head and on how long a request may take to
come, body and all; and with a shorter way for what is asked most.

What comes in one piece, as nearly all does, is not timed. A plain `GET /auth` that passes is
answered where it is read, without a task and without the checks of headers that are ours: a proxy
waits for it before every request that it lets through. Whatever is not plain goes the usual way.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sessionledger.server import forward_auth
from sessionledger.server.asgi import Scope
from sessionledger.server.front import Front
from sessionledger.server.problems import MEDIA_TYPE, Refused

PATH, BELOW = forward_auth.PATH.encode(), forward_auth.PATH.encode() + b"/"
_OF_BODIES = (b"content-length", b"transfer-encoding")

TOO_LARGE = Refused(431, "headers_too_large", "the path and the headers are larger than allowed")
TOO_SLOW = Refused(408, "too_slow", "the request did not arrive in time")
NOT_HTTP = Refused(400, "invalid_request", "that is not an HTTP/1.1 request")


@lru_cache(maxsize=1)
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which bounds neither."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._front = cast(Front, config.app)
        settings = self._front.service.settings
        self._most = settings.max_header_bytes
        self._patience = settings.request_timeout.total_seconds()
        self._size = 0
        self._arriving = self._in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Somebody connected, who may say nothing."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._patience, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to wait for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that is not complete yet has so long to be."""
        super().data_received(data)
        if self._arriving and self._timer is None:
            self._timer = self.loop.call_later(self._patience, self._too_slow)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._size, self._arriving, self._in_head = 0, True, True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the path and the query."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._answered = self._is_plain_auth() and self._passed()
        if not self._answered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there."""
        self._arriving = False
        self._stop_waiting()
        if not self._answered:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  ours says it as a problem
        """Answer what can't be parsed, or is more than is taken, and hang up."""
        self._hang_up(TOO_LARGE if self._size > self._most else NOT_HTTP)

    def _is_plain_auth(self) -> bool:
        """Whether it is `GET /auth` or below, with no body, no condition, and nothing before it."""
        url, parser = self.url, self.parser
        return (
            (url == PATH or url.startswith(BELOW))
            and b"?" not in url
            and parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not any(name in _OF_BODIES for name, _ in self.headers)
            and not self.flow.write_paused
            and not self.pipeline
            and not self.transport.is_closing()
            and (
                cast(RequestResponseCycle | None, self.cycle) is None
                or self.cycle.response_complete
            )
        )

    def _passed(self) -> bool:
        """Let it pass, if that can be told at once."""
        self.scope["method"] = "GET"
        head = self._front.pass_at_once(cast(Scope, self.scope))
        if head is None:
            return False
        # uvicorn makes this list anew each second, for the date.
        defaults = self.server_state.default_headers
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + _lines(tuple(defaults)) + head)
        self.on_response_complete()
        return True

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._most:
            raise TOO_LARGE

    def _stop_waiting(self) -> None:
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
        """Whether what arrives is not answered yet, and nothing before it is being answered."""
        # Before the first request there is none, whatever uvicorn's annotation says.
        cycle = cast(RequestResponseCycle | None, self.cycle)
        if cycle is None:
            return True
        return cycle.response_complete if self._in_head else not cycle.response_started

    def _hang_up(self, refused: Refused) -> None:
        body = msgspec.json.encode(refused.problem)
        status = HTTPStatus(refused.problem.status)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
