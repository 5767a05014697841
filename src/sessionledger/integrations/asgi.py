"""What the ASGI frameworks have in common: a store while the application runs, and visits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias

from sessionledger import AsyncSessionStore, StoreClosed
from sessionledger.integrations.request import Request
from sessionledger.integrations.request_session import Refuse, Visit
from sessionledger.integrations.settings import Settings

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_NO_STORE = (b"cache-control", b"no-store")


class Connection(Protocol):
    """A request or a WebSocket of any framework."""

    @property
    def scope(self) -> Any:
        """As ASGI has it."""


class AsgiSessions:
    """The sessions of an application: its store, while it runs, and the visits of its requests.

    open_store: makes the store, each time that the application starts.
    """

    refuse: Refuse

    def __init__(
        self, open_store: Callable[[], AsyncSessionStore], *, settings: Settings | None = None
    ) -> None:
        self.settings = Settings() if settings is None else settings
        self._open_store = open_store
        self._store: AsyncSessionStore | None = None
        self._key = f"sessionledger.{self.settings.cookie.name}"

    @property
    def store(self) -> AsyncSessionStore:
        """The store. Raises `StoreClosed` before the application has started."""
        if self._store is None:
            raise StoreClosed("the store is open while the application's lifespan lasts")
        return self._store

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:  # noqa: ARG002
        """The store is open in here: the application's lifespan, or a part of it."""
        async with self._open_store() as self._store:
            try:
                yield
            finally:
                self._store = None

    def middleware(self, app: App) -> App:
        """What has each request visit, and sends the cookie that it was given."""

        async def visiting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket"):
                await app(scope, receive, send)
                return
            visit = Visit(self.store, _request_of(scope), self.settings, self.refuse)
            scope[self._key] = visit
            await app(scope, receive, _with_cookie(send, visit))

        return visiting

    def visit(self, connection: Connection) -> Visit:
        """What a request may do with its session. Raises `RuntimeError` without the middleware."""
        return self._visit_in(connection.scope)

    def _visit_in(self, scope: Mapping[str, Any]) -> Visit:
        visit = scope.get(self._key)
        if not isinstance(visit, Visit):
            raise RuntimeError("the application lacks the middleware of its Sessions")  # noqa: TRY004
        return visit


def _request_of(scope: Scope) -> Request:
    client = scope.get("client")
    method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    return Request(method, scope["headers"], client[0] if client else None, scheme)


def _with_cookie(send: Send, visit: Visit) -> Send:
    """Sends, with the cookie that the visit wants set. No cache keeps an answer that has one."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and visit.set_cookie is not None:
            headers = [one for one in message.get("headers", []) if one[0].lower() != _NO_STORE[0]]
            cookie = (b"set-cookie", visit.set_cookie.encode("latin-1"))
            message["headers"] = [*headers, _NO_STORE, cookie]
        await send(message)

    return sending
