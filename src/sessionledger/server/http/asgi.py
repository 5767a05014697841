"""The types of ASGI, and whole responses for what is answered without the framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

NO_STORE: Header = (b"cache-control", b"no-store")


class Headers:
    """Headers that many responses share. lines: as they are sent."""

    def __init__(self, *headers: Header) -> None:
        self.all = headers
        self.lines = b"".join([b"%b: %b\r\n" % header for header in headers])


class PlainResponse(NamedTuple):
    """A whole response. The length of its body is added where it is sent.

    more: headers that no other response shares.
    """

    status: int
    headers: Headers
    body: bytes = b""
    more: tuple[Header, ...] = ()


async def respond(send: Send, response: PlainResponse) -> None:
    """Send a whole response."""
    length = (b"content-length", b"%d" % len(response.body))
    headers = [length, *response.headers.all, *response.more]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def read_only(media_type: str, content: Callable[[Scope], Awaitable[bytes]]) -> ASGIApp:
    """An application that answers GET with content that is computed for each request."""
    content_type = (b"content-type", media_type.encode("ascii"))
    headers = Headers(content_type, NO_STORE)
    refused = PlainResponse(405, Headers((b"allow", b"GET"), content_type, NO_STORE))

    async def application(scope: Scope, _: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await respond(send, PlainResponse(200, headers, await content(scope)))
        else:
            await respond(send, refused)

    return application
