"""What is the same for everybody, or is read by machines that are no clients: two small pages."""

from __future__ import annotations

from collections.abc import Callable

from sessionledger.server.http.asgi import Receive, Scope, Send, respond


class Page:
    """A page that is made anew for each request, of one media type; only for reading."""

    def __init__(self, media_type: str, content: Callable[[], bytes]) -> None:
        self._headers = [
            (b"content-type", media_type.encode("ascii")),
            (b"cache-control", b"no-store"),
        ]
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  there is nothing to receive
        """Answer a request."""
        if scope["method"] == "GET":
            await respond(send, 200, self._headers, self._content())
        else:
            await respond(send, 405, [(b"allow", b"GET"), *self._headers])
