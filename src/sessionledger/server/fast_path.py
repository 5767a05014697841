"""Endpoints that do without the framework: each says once what it answers, and is asked two ways.

The usual way is as an ASGI application. The short way is at once: where the request is there whole,
and what is known answers it, a protocol can send the answer as it reads the request. It is the same
coroutine, which in place must not wait, and must not find anything to do but to answer. Where it
would, or fails, nothing has happened yet, and the usual way is taken.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from sessionledger import AsyncSessionStore, Excerpt
from sessionledger.server.error_handlers import refusal
from sessionledger.server.http.asgi import (
    App,
    Header,
    Receive,
    Scope,
    Send,
    respond,
)
from sessionledger.server.http.problems import Refused
from sessionledger.server.service.keys import Key
from sessionledger.web.credentials import RawHeaders

T = TypeVar("T")


class Headers:
    """Headers of answers, put together once for all that have them. lines: as they are sent."""

    def __init__(self, *headers: Header) -> None:
        self.all = headers
        self.lines = b"".join(b"%b: %b\r\n" % header for header in headers)


class Answer:
    """What a request is answered. lines: what follows the first headers on the wire, put together
    once for an answer that is given again; the length of the body is told there, or by who sends
    it another way."""

    __slots__ = ("body", "headers", "lines", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.lines = b"content-length: %d\r\n%b\r\n%b" % (len(body), headers.lines, body)


class Call(Protocol):
    """A request, and what can be asked to answer it. caller: the admin key that it came with."""

    method: str
    path: str
    query: bytes
    headers: RawHeaders
    caller: Key | None

    async def body(self, most: int) -> bytes:
        """All of the body. Raises `Refused` where that is more than so many bytes."""

    async def authenticate(
        self,
        store: AsyncSessionStore,
        token: str | None,
        excerpt: Excerpt[T],
        max_auth_age: timedelta | None = None,
    ) -> T | None:
        """What an excerpt takes out of the live session of a token that was presented: the one
        that the store's own `authenticate` answers."""


class Endpoint(Protocol):
    """What answers at a path."""

    async def answer(self, call: Call) -> Answer:
        """The answer. Raises `Refused`, and what the stores raise."""

    def refuse(self, refused: Refused) -> Answer:
        """The answer to what is not carried out."""


class Arriving:
    """A call over ASGI, whose body may still be on its way."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: RawHeaders = scope["headers"]

    @property
    def caller(self) -> Key | None:
        """Kept where the framework keeps it, too."""
        return caller_in(self._scope)

    @caller.setter
    def caller(self, key: Key | None) -> None:
        self._scope.setdefault("state", {})["caller"] = key

    async def body(self, most: int) -> bytes:
        """What comes, until all is there."""
        body, more = b"", True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Refused(400, "invalid_request", "the client is gone")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            _check_size(body, most)
        return body

    async def authenticate(
        self,
        store: AsyncSessionStore,
        token: str | None,
        excerpt: Excerpt[T],
        max_auth_age: timedelta | None = None,
    ) -> T | None:
        """From what the store says, which may write for it."""
        session = await store.authenticate(token, max_auth_age=max_auth_age)
        return None if session is None else excerpt.take(session)


class NotAtOnce(Exception):
    """There is something to do before a call can be answered."""


class Arrived(msgspec.Struct, gc=False):
    """A call that is there whole, and is answered at once or another way."""

    method: str
    path: str
    headers: RawHeaders
    content: bytes
    query: bytes = b""
    caller: Key | None = None

    async def body(self, most: int) -> bytes:
        """What came."""
        _check_size(self.content, most)
        return self.content

    async def authenticate(
        self,
        store: AsyncSessionStore,
        token: str | None,
        excerpt: Excerpt[T],
        max_auth_age: timedelta | None = None,
    ) -> T | None:
        """From what the store says, where it has nothing to do for it. Raises `NotAtOnce`."""
        taken = store.excerpt(token, excerpt)
        if taken is None or max_auth_age is not None:
            raise NotAtOnce
        return taken


class Prompt(NamedTuple):
    """What can be asked at once, and the path that it is counted by."""

    endpoint: Endpoint
    route: str


def at_once(endpoint: Endpoint, call: Arrived) -> Answer | None:
    """The answer of an endpoint that writes nothing itself; None where it is to be asked again,
    as an application."""
    answering = endpoint.answer(call)
    try:
        answering.send(None)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    except Exception:  # noqa: BLE001  who is asked next tells what it was
        return None
    answering.close()
    return None


def application(endpoint: Endpoint) -> App:
    """The endpoint as an ASGI application."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            given = await endpoint.answer(Arriving(scope, receive))
        except Exception as error:  # noqa: BLE001  whatever it is, a client gets an answer
            given = endpoint.refuse(refusal(error))
        await respond(send, given.status, given.headers.all, given.body)

    return answer


def caller_in(scope: Scope) -> Key | None:
    """The admin key that a request was made with, if it was found to be one."""
    caller = scope.get("state", {}).get("caller")
    return caller if isinstance(caller, Key) else None


def _check_size(body: bytes, most: int) -> None:
    if len(body) > most:
        raise Refused(413, "too_large", "the body is larger than allowed")
