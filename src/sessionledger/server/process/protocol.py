"""HTTP/1.1 on the wire: with bounds, on the size of a head and on how long a request may take to
come, body and all; and with a shorter way for what is asked most.

What comes in one piece, as nearly all does, is not timed. A plain request that is there whole, to a
path that can be asked at once, is answered where it is read, without a task and without the checks
of headers that are ours; with a head that came before, it is not even parsed. Whatever is not
plain, or is not answered at once, goes the usual way, as if nothing had been tried.
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

from sessionledger.server.asgi_app import Front
from sessionledger.server.fast_path import Answer, Arrived, Prompt
from sessionledger.server.http.problems import MEDIA_TYPE, Refused
from sessionledger.server.process.heads import Head, head_of
from sessionledger.server.process.putting_off import PutOff

PLAIN_METHODS = {b"GET": "GET", b"POST": "POST"}
_ODD = frozenset((b"connection", b"expect", b"transfer-encoding", b"upgrade"))

TOO_LARGE = Refused(431, "headers_too_large", "the path and the headers are larger than allowed")
TOO_SLOW = Refused(408, "too_slow", "the request did not arrive in time")
NOT_HTTP = Refused(400, "invalid_request", "that is not an HTTP/1.1 request")


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
        self._headers_are_plain = False
        self._asked: Prompt | None = None
        self._body = self._piece = b""
        self._head: Head | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = PutOff(self.loop, self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self._defaults: list[tuple[bytes, bytes]] = []
        self._default_lines = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Somebody connected, who may say nothing."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else None
        self._timer = self.loop.call_later(self._patience, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to wait for."""
        self._stop_waiting()
        self._idle.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that is not complete yet has so long to be."""
        if self._head is not None and self._is_answered_again(self._head, data):
            return
        self._piece = b"" if self._arriving else data
        super().data_received(data)
        self._piece = b""
        if self._asked is not None:
            self._go_the_usual_way()
        if self._arriving and self._timer is None:
            self._timer = self.loop.call_later(self._patience, self._too_slow)

    def on_message_begin(self) -> None:
        """A head begins. What uvicorn makes for it is made when that is needed."""
        self._size, self._arriving, self._in_head = 0, True, True
        self._headers_are_plain = True
        self.url = self._body = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        """A part of the path and the query."""
        self._size += len(url)
        if self._size > self._most:
            raise TOO_LARGE
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._size += len(name) + len(value) + 4
        if self._size > self._most:
            raise TOO_LARGE
        name = name.lower()
        if name in _ODD and not self._is_usual(name):
            self._headers_are_plain = False
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._asked = self._front.prompt(self.url) if self._is_plain() else None
        if self._asked is None:
            self._go_the_usual_way()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._asked is not None:
            self._body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._arriving = False
        if self._timer is not None:
            self._stop_waiting()
        asked = self._asked
        if asked is not None:
            call = self._call()
            if self._is_answered(asked, call):
                self._asked = None
                if call.content:
                    self._head = head_of(self._piece, asked, call)
                return
            self._go_the_usual_way()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn does, with one timer for all the answers on a connection."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle.begin()

    def _unset_keepalive_if_required(self) -> None:
        self._idle.end()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  ours says it as a problem
        """Answer what can't be parsed, or is more than is taken, and hang up."""
        self._asked = None
        self._hang_up(TOO_LARGE if self._size > self._most else NOT_HTTP)

    def _is_plain(self) -> bool:
        """Whether it is a request that may be answered at once."""
        parser = self.parser
        return (
            self._headers_are_plain
            and b"?" not in self.url
            and parser.get_method() in PLAIN_METHODS
            and parser.should_keep_alive()
            and self._is_next()
        )

    def _is_next(self) -> bool:
        """Whether nothing comes before its answer, and it can be sent."""
        # Before the first request there is none, whatever uvicorn's annotation says.
        before = self.cycle
        return (
            not self.flow.write_paused
            and not self.pipeline
            and not self.transport.is_closing()
            and (not before or before.response_complete)
        )

    def _is_usual(self, name: bytes) -> bool:
        """Whether a header is one of HTTP/1.1 that only says whether the connection is kept.

        What it says is for the parser to tell. HTTP/1.0, which is answered in another way, keeps
        none without this header: so nobody else has to ask for the version.
        """
        return name == b"connection" and self.parser.get_http_version() == "1.1"

    def _call(self) -> Arrived:
        method, path = PLAIN_METHODS[self.parser.get_method()], self.url.decode("latin-1")
        return Arrived(method, path, self.headers, self._body)

    def _is_answered_again(self, head: Head, data: bytes) -> bool:
        """Answer it, if it is a request with the same head, and nothing of another."""
        if self._arriving:
            return False
        call = head.of(data)
        return call is not None and self._is_next() and self._is_answered(head.asked, call)

    def _is_answered(self, asked: Prompt, call: Arrived) -> bool:
        """Answer it, if it can be told at once what."""
        answer = self._front.answer_at_once(asked, call, self._address)
        if answer is None:
            return False
        self.transport.write(self._on_the_wire(answer))
        self.server_state.total_requests += 1
        self._idle.begin()
        return True

    def _on_the_wire(self, answer: Answer) -> bytes:
        # uvicorn makes this list anew each second, for the date.
        if self._defaults is not self.server_state.default_headers:
            self._defaults = self.server_state.default_headers
            self._default_lines = b"".join(b"%b: %b\r\n" % header for header in self._defaults)
        return b"%b%b%b" % (STATUS_LINE[answer.status], self._default_lines, answer.lines)

    def _go_the_usual_way(self) -> None:
        """What uvicorn does from the beginning of a head on, with all of it that is there."""
        self._asked = None
        url, headers, body = self.url, self.headers, self._body
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        if body:
            super().on_body(body)

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
