"""Endpoints without the framework. The same code answers each of them in one of two ways.

1. As an ASGI application, which may wait for the body, for the ledger and for a write.
2. At once, when the protocol has read a whole request. The same coroutine runs in place, and may
   neither wait nor write. If it would, or if it fails, nothing has happened yet, and the
   application answers instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import msgspec

from sessionledger import AsyncSessionStore, Session
from sessionledger.server.error_handlers import problem_of
from sessionledger.server.http.asgi import ASGIApp, PlainResponse, Receive, Scope, Send, respond
from sessionledger.server.http.problems import HTTPProblem
from sessionledger.server.service.limits import DeferredCount, RequestCount
from sessionledger.server.service.service import COUNT

T = TypeVar("T")

MAX_PROJECTIONS = 8192
FAST_METHODS = {b"GET": "GET", b"POST": "POST"}


class Projection(Generic[T]):
    """What a pure function makes of sessions, kept for those that are asked about again.

    A session has another version after every change, so nothing that is kept becomes stale.
    """

    def __init__(self, make: Callable[[Session], T]) -> None:
        self._make = make
        self._made: dict[tuple[str, int], T] = {}

    def of(self, session: Session) -> T:
        """What the function makes of a session. It is shared: do not change it."""
        key = (session.handle, session.version)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= MAX_PROJECTIONS:
                self._made.clear()
            made = self._made[key] = self._make(session)
        return made


class EndpointRequest(msgspec.Struct, gc=False):
    """A request to an endpoint, with its whole body."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    content: bytes
    query: bytes = b""

    async def authenticate(
        self,
        store: AsyncSessionStore,
        token: str | None,
        max_auth_age: timedelta | None = None,
    ) -> Session | None:
        """Ask the store, which may write for it. Endpoints `peek` first, which costs less."""
        return await store.authenticate(token, max_auth_age=max_auth_age)


class Endpoint(Protocol):
    """Answers the requests to one path.

    is_fast: whether it may be tried at once. max_body_bytes: 0 where no body is read.
    """

    is_fast: bool
    max_body_bytes: int

    async def respond(self, request: EndpointRequest, count: RequestCount) -> PlainResponse:
        """The response. Raises `HTTPProblem`, and what the stores raise. count: told whom the
        request counts for."""

    def error_response(self, error: HTTPProblem) -> PlainResponse:
        """The response to a request that is not carried out."""


class NotAtOnce(Exception):
    """More than a read is due before a request can be answered."""


class CompleteRequest(EndpointRequest, gc=False):
    """A request that is answered at once or not at all."""

    async def authenticate(self, *_: object) -> Session | None:
        """Raises `NotAtOnce`: what `peek` did not answer may have to wait, or to write."""
        raise NotAtOnce


def at_once(
    endpoint: Endpoint, request: CompleteRequest, count: DeferredCount
) -> PlainResponse | None:
    """The response to a complete request; None where the application has to answer it."""
    responding = endpoint.respond(request, count)
    try:
        responding.send(None)
    except StopIteration as done:
        return _settled(endpoint, done.value, count)
    except Exception:  # noqa: BLE001  the application meets the same error and answers it
        return None
    responding.close()
    return None


def _settled(endpoint: Endpoint, response: PlainResponse, count: DeferredCount) -> PlainResponse:
    """The response to a request that counts now, or its refusal."""
    try:
        count.settle()
    except HTTPProblem as refused:
        response = endpoint.error_response(refused)
    if not count.headers:
        return response
    return PlainResponse(response.status, response.headers, response.body, count.headers)


def as_application(endpoint: Endpoint) -> ASGIApp:
    """The endpoint as an ASGI application."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        request = EndpointRequest(
            scope["method"], scope["path"], scope["headers"], b"", scope["query_string"]
        )
        try:
            if endpoint.max_body_bytes:
                request.content = await _body(receive, endpoint.max_body_bytes)
            response = await endpoint.respond(request, scope[COUNT])
        except Exception as error:  # noqa: BLE001  every request gets a response
            response = endpoint.error_response(problem_of(error))
        await respond(send, response)

    return application


async def _body(receive: Receive, max_bytes: int) -> bytes:
    """The whole body. Raises `HTTPProblem` for a larger one, and when the client is gone."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise HTTPProblem(400, "invalid_request", "the client is gone")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > max_bytes:
            raise HTTPProblem(413, "too_large", f"the body is larger than {max_bytes} bytes")
    return body
