"""The access log: a line of JSON for each request, in which no token can stand.

The path is told as the route that it came to, and never as it was sent: what a client puts into a
path, a query or a header is not ours to write down.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

from sessionledger.server.asgi import Scope
from sessionledger.server.keys import Key

STDERR = 2
Write: TypeAlias = Callable[[bytes], object]


class Line(msgspec.Struct, omit_defaults=True):
    """One request. milliseconds: until the last byte was handed over. key: an admin key's name."""

    time: datetime
    method: str
    route: str
    status: int
    milliseconds: float
    client: str | None = None
    key: str | None = None


_encode = msgspec.json.Encoder().encode


def write_to_stderr(line: bytes) -> None:
    """Hand a line over in one piece, so that those of several workers don't mix."""
    os.write(STDERR, line)


def log_request(write: Write, scope: Scope, route: str, status: int, seconds: float) -> None:
    """Write a request down."""
    client = scope.get("client")
    caller = scope.get("state", {}).get("caller")
    line = Line(
        datetime.now(UTC),
        scope["method"],
        route,
        status,
        round(seconds * 1000, 3),
        client[0] if client else None,
        caller.name if isinstance(caller, Key) else None,
    )
    write(_encode(line) + b"\n")
