"""What the ASGI frameworks share: a store while the application runs, and request sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias

from sessionledger import AsyncSessionStore, StoreClosed
from sessionledger.integrations.refusing import Refuse
from sessionledger.integrations.request import Request
from sessionledger.integrations.request_session import RequestSession
from sessionledger.integrations.settings import Settings
from sessionledger.secrecy import without_locals

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Connection(Protocol):
    """A request or a WebSocket of any framework."""

    @property
    def scope(self) -> Any:
        """As ASGI has it."""


class AsgiSessions:
    """The sessions of an application: its store while it runs, and its request sessions.

    open_store: makes the store, each time that the application starts.
    """

    refuse: Refuse

    def __init__(
        self, open_store: Callable[[], AsyncSessionStore], *, settings: Settings | None = None
    ) -> None:
        self.settings = Settings() if settings is None else settings
        self._open_store = open_store
        self._store: AsyncSessionStore | None = None
        self._lifespans = 0
        self._key = f"sessionledger.{self.settings.cookie.name}"

    @property
    def store(self) -> AsyncSessionStore:
        """The store. Raises `StoreClosed` before the application has started."""
        if self._store is None:
            raise StoreClosed("the store is open while the application's lifespan lasts")
        return self._store

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:  # noqa: ARG002
        """The store is open in here: the application's lifespan, or a part of it.

        Lifespans that overlap share it. The last to end closes it.
        """
        is_first = self._lifespans == 0
        self._lifespans += 1
        try:
            if is_first:
                self._store = self._open_store()
                await self._store.__aenter__()
            yield
        finally:
            self._lifespans -= 1
            if not self._lifespans and self._store is not None:
                store, self._store = self._store, None
                await store.close()

    def middleware(self, app: App) -> App:
        """Gives each request its request session, and sends the cookie that this sets."""

        @without_locals
        async def with_request_session(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket"):
                await app(scope, receive, send)
                return
            request_session = RequestSession(
                lambda: self.store, request_of(scope), self.settings, self.refuse
            )
            scope[self._key] = request_session
            await app(scope, receive, _with_headers(send, request_session))

        return with_request_session

    def for_request(self, connection: Connection) -> RequestSession:
        """The request session of a request or WebSocket.

        Raises `RuntimeError` without the middleware.
        """
        return self._request_session_in(connection.scope)

    def _request_session_in(self, scope: Mapping[str, Any]) -> RequestSession:
        request_session = scope.get(self._key)
        if not isinstance(request_session, RequestSession):
            raise RuntimeError("add sessions.middleware to the application")  # noqa: TRY004
        return request_session


def request_of(scope: Scope) -> Request:
    """The request of a scope."""
    client = scope.get("client")
    method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
    scheme = scope.get("scheme", "").replace("ws", "http") or None
    return Request(method, scope["headers"], client[0] if client else None, scheme)


def _with_headers(send: Send, request_session: RequestSession) -> Send:
    """Sends, with the cookie and the cache headers of the request session."""

    @without_locals
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            said = (_values(headers, name) for name in (b"vary", b"cache-control"))
            told = {
                name.lower().encode(): value.encode("latin-1")
                for name, value in request_session.cache_headers(*said).items()
            }
            headers = [one for one in headers if one[0].lower() not in told]
            if request_session.set_cookie is not None:
                headers.append((b"set-cookie", request_session.set_cookie.encode("latin-1")))
            message["headers"] = [*headers, *told.items()]
        await send(message)

    return sending


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name.lower() == wanted]
