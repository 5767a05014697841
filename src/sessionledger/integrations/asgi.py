"""What the ASGI frameworks have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from sessionledger.integrations.request import Request
from sessionledger.integrations.visit import Visit

Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_NO_STORE = (b"cache-control", b"no-store")


def request_of(scope: MutableMapping[str, Any]) -> Request:
    """The request of an ASGI scope; it must be of HTTP or of a WebSocket."""
    client = scope.get("client")
    method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
    return Request(method, scope["headers"], client[0] if client else None)


def with_cookie(send: Send, visit: Visit) -> Send:
    """Sends, with the cookie that the visit wants set. No cache keeps an answer that has one."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and visit.set_cookie is not None:
            headers = [one for one in message.get("headers", []) if one[0].lower() != _NO_STORE[0]]
            cookie = (b"set-cookie", visit.set_cookie.encode("latin-1"))
            message["headers"] = [*headers, _NO_STORE, cookie]
        await send(message)

    return sending
