"""A request, as far as sessions are concerned: what it presents, and what may be noted of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from sessionledger.secrecy import without_tokens
from sessionledger.web.credentials import RawHeaders


class Request:
    """method: in upper case; `WEBSOCKET` for one that asks for a WebSocket. headers: those that
    concern sessions at least, with names in lower case. address: the client's, as the framework
    knows it, or None. scheme: `http` or `https`, or None where nobody tells. Its `repr` shows none
    of them, since a token is among the headers."""

    __slots__ = ("address", "headers", "method", "scheme")

    def __init__(
        self,
        method: str,
        headers: RawHeaders,
        address: str | None = None,
        scheme: str | None = None,
    ) -> None:
        self.method = method
        self.headers = list(headers)
        self.address = address
        self.scheme = scheme


Context: TypeAlias = Callable[[Request], Mapping[str, str]]
"""What is noted with the events that a request causes."""

WSGI_HEADERS = {
    "HTTP_ACCEPT": b"accept",
    "HTTP_AUTHORIZATION": b"authorization",
    "HTTP_COOKIE": b"cookie",
    "HTTP_HOST": b"host",
    "HTTP_ORIGIN": b"origin",
    "HTTP_SEC_FETCH_SITE": b"sec-fetch-site",
    "HTTP_SEC_WEBSOCKET_KEY": b"sec-websocket-key",
    "HTTP_USER_AGENT": b"user-agent",
}
_MOST_CHARS = 256


def nothing(_: Request) -> Mapping[str, str]:
    """No context."""
    return {}


def user_agent_and_address(request: Request) -> Mapping[str, str]:
    """`user_agent`, cut to 256 characters, and `address`, where they are known."""
    told = {"address": request.address or ""}
    for name, value in request.headers:
        if name == b"user-agent":
            # Before the cut: a part of a token would not look like one.
            told["user_agent"] = without_tokens(value.decode("latin-1"))[:_MOST_CHARS]
    return {name: text for name, text in told.items() if text}


def from_wsgi(environ: Mapping[str, object], scheme: str | None) -> Request:
    """The request of a WSGI environment (PEP 3333). Headers that came twice stand there joined."""
    headers = [
        (called, str(environ[name]).encode("latin-1", "replace"))
        for name, called in WSGI_HEADERS.items()
        if name in environ
    ]
    method, address = str(environ["REQUEST_METHOD"]), environ.get("REMOTE_ADDR")
    return Request(method, headers, str(address) if address else None, scheme)
