"""HTTP/1.1 on the wire: limits on header size, on arrival and on reading, and the fast path.

Both classes override methods of uvicorn that uvicorn does not document. So `serve` refuses
versions of it that were not tested.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from itertools import chain
from typing import Any, cast

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from sessionledger.server.asgi_app import Application
from sessionledger.server.fast_path import FAST_METHODS, CompleteRequest
from sessionledger.server.http.asgi import Header, Message, PlainResponse, Receive, Scope, Send
from sessionledger.server.http.problems import MEDIA_TYPE, HTTPProblem

TOO_LARGE = HTTPProblem(431, "headers_too_large", "the path and the headers are too large")
TOO_SLOW = HTTPProblem(408, "too_slow", "the request did not arrive in time")
NOT_HTTP = HTTPProblem(400, "invalid_request", "that is not an HTTP/1.1 request")

LINGER_SECONDS = 0.5
"""How long an idle connection stays open when the server stops: a request may be on its way."""
CLOSE: Header = (b"connection", b"close")
_NOT_PLAIN = frozenset((b"expect", b"transfer-encoding", b"upgrade"))


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits on header size, and on the time that a client may take to
    send a request and to read the answer."""

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
        # _bytes: received since the last request was complete, or since the last piece of a body.
        self._bytes = 0
        self._arriving = self._in_headers = False
        # Whether an answer began before its request was complete. The rest is no request.
        self._is_last = self._is_stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self.app = self._answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """A client connected, and may send nothing."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read what it is sent. It has as long as for a request."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self._timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The client read some of it."""
        self._stop_unread_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Read what arrived. A connection that waits for more is timed."""
        self._bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._arriving and self._bytes > self._max_header_bytes:
            self._give_up(TOO_LARGE)
        elif self._timer is None and self.timeout_keep_alive_task is None and self._is_reading():
            self._start_timer()

    def _parse(self, data: bytes) -> None:
        """Parse what arrived, and ignore offers of other protocols (RFC 9110, section 7.8).

        The parser expects the other protocol after such a head, and not a body. So another parser
        reads the head once more, without the offer.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._head_without_offer() + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _head_without_offer(self) -> bytes:
        parser = self.parser
        version = parser.get_http_version().encode("ascii")
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._is_last:
            raise NOT_HTTP
        super().on_message_begin()
        self._arriving = self._in_headers = True

    def on_headers_complete(self) -> None:
        """All headers are there."""
        headers = self.headers
        self._bytes = len(self.url) + 4 * len(headers) + sum(map(len, chain(*headers)))
        if self._bytes > self._max_header_bytes:
            raise TOO_LARGE
        if b"#" in self.url or self.parser.get_method() == b"CONNECT":
            raise NOT_HTTP
        if self.parser.should_upgrade():
            return
        self._in_headers = False
        super().on_headers_complete()
        if self._is_stopping:
            self.cycle.keep_alive = False
        # Trailers come later, and are dropped: what counts is sent before the body.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """A piece of the body. What comes beside it is limited as a head is, and one read more."""
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        if self.parser.should_upgrade():
            return
        self._arriving, self._bytes = False, 0
        self._stop_timer()
        super().on_message_complete()
        if self._is_last and self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
        """A response was sent. The last one of a connection waits for the rest of its request.

        Hanging up before it arrived would reset the connection, and the response might be lost.
        """
        if not self._is_last:
            super().on_response_complete()
        elif self._arriving:
            self.flow.resume_reading()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops: the next answer says that it is the last one."""
        self._is_stopping = True
        self.timeout_keep_alive = LINGER_SECONDS  # type: ignore[assignment]  # a time is no int
        if self._is_idle():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                LINGER_SECONDS, self.timeout_keep_alive_handler
            )
        elif not self._arriving and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the problem says it
        """Answer a request that can't be parsed or whose headers are too large, and hang up."""
        if self._is_last:
            return
        too_large = self._arriving and self._bytes > self._max_header_bytes
        self._hang_up(TOO_LARGE if too_large else NOT_HTTP)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application. A response that begins before its request is complete says that
        the connection ends (RFC 9112, section 9.3)."""

        async def closing(message: Message) -> None:
            is_early = message["type"] == "http.response.start" and self._arriving
            if not is_early or scope is not self.scope:
                await send(message)
                return
            self._is_last = True
            await send({**message, "headers": [*message.get("headers", ()), CLOSE]})
            # uvicorn would hang up as soon as the response is complete.
            self.cycle.keep_alive = True

        await self._application(scope, receive, closing)

    def _is_reading(self) -> bool:
        """Whether the server waits for the client: for the rest of a request, or for another."""
        return self._arriving or self._is_idle()

    def _is_idle(self) -> bool:
        """Whether every request was answered, and another answer can be sent."""
        # Before the first request there is no cycle, whatever uvicorn's annotation says.
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return (
            not self._arriving
            and not self.pipeline
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and (cycle is None or cycle.response_complete)
        )

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._timeout, self._too_slow)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._give_up(TOO_SLOW)

    def _give_up(self, error: HTTPProblem) -> None:
        """Hang up, and say why only where that can be taken for no other answer."""
        if self._owes_an_answer():
            self._hang_up(error)
        else:
            self.transport.close()

    def _owes_an_answer(self) -> bool:
        """Whether the request that arrives is unanswered, and no answer before it is under way."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        if cycle is None:
            return True
        return cycle.response_complete if self._in_headers else not cycle.response_started

    def _hang_up(self, error: HTTPProblem) -> None:
        if self.transport.is_closing():
            return
        body = msgspec.json.encode(error.problem)
        status = HTTPStatus(error.problem.status)
        headers = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(headers.encode("ascii") + body)
        self.transport.close()


class FastProtocol(BoundedProtocol):
    """A bounded protocol that answers some requests where they are read, without a task.

    Such a request arrives as one piece of data on an idle connection. Any other piece goes to
    uvicorn, and so does one that has no answer at once.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """A client connected."""
        super().connection_made(transport)
        self._reader = RequestReader()

    def data_received(self, data: bytes) -> None:
        """Answer what arrived, or let uvicorn read it."""
        if not self._is_answered(data):
            super().data_received(data)

    def _is_answered(self, data: bytes) -> bool:
        application = self._application
        if not data.startswith(application.fast_prefixes) or len(data) > self._max_header_bytes:
            return False
        is_next = self._is_idle() and not self._is_stopping
        request = self._reader.read(data) if is_next else None
        if request is None:
            return False
        response = application.answer_at_once(request, self.client[0] if self.client else None)
        if response is None:
            return False
        self._stop_timer()
        self.transport.write(self._encode(response))
        self.on_response_complete()
        return True

    def _encode(self, response: PlainResponse) -> bytes:
        status, headers, body, more = response
        defaults = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        length = b"content-length: %d\r\n" % len(body)
        rest = [b"%b: %b\r\n" % header for header in more]
        return b"".join(
            (STATUS_LINE[status], *defaults, length, headers.lines, *rest, b"\r\n", body)
        )


class RequestReader:
    """Reads one plain request from one piece of data."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def read(self, data: bytes) -> CompleteRequest | None:
        """The request; None where the data is not exactly one, or the connection has to end."""
        self._request = CompleteRequest("", "", [], b"")
        self._url = b""
        self._begun = self._complete = 0
        self._is_plain = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._is_plain = False
        if self._is_plain and self._begun == self._complete == 1:
            return self._request
        # The parser is in the middle of something that uvicorn's parser reads from its beginning.
        self._parser = httptools.HttpRequestParser(self)
        return None

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        """The path and the query."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        name = name.lower()
        if name in _NOT_PLAIN:
            self._is_plain = False
        self._request.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """The body."""
        self._request.content += body

    def on_message_complete(self) -> None:
        """The whole request is there."""
        parser = self._parser
        self._complete += 1
        path, _, self._request.query = self._url.partition(b"?")
        self._request.path = path.decode("ascii")
        if b"%" in path or b"#" in self._url:
            self._is_plain = False
        self._request.method = FAST_METHODS.get(parser.get_method(), "")
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            self._is_plain = False
