"""The access log: a line of JSON for each request, in which no token can stand.

The path is told as the route that it came to, and never as it was sent: what a client puts into a
path, a query or a header is not ours to write down.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import msgspec

from sessionledger.server.asgi import Scope
from sessionledger.server.keys import Key

STDERR = 2
Write: TypeAlias = Callable[[bytes], object]


_text = msgspec.json.Encoder().encode


class Gathered:
    """Hands over the lines of one turn of the event loop in one piece: a write takes as long for
    many as for one, and the lines of several workers don't mix."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines: list[bytes] = []

    def __call__(self, line: bytes) -> None:
        """Take a line."""
        self._lines.append(line)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        lines, self._lines = self._lines, []
        self._write(b"".join(lines))


def write_to_stderr(lines: bytes) -> None:
    """Write to the standard error of the process, which nobody buffers."""
    os.write(STDERR, lines)


def log_request(write: Write, scope: Scope, route: str, status: int, seconds: float) -> None:
    """Write a request down: milliseconds until all was handed over, and an admin key's name."""
    client, caller = scope.get("client"), scope.get("state", {}).get("caller")
    # Everything is a text of ours or a number, but for the client's address and the method.
    line = b'{"time":"%s","method":%s,"route":"%s","status":%d,"milliseconds":%.3f' % (
        _stamp(time.time()),
        _text(scope["method"]),
        route.encode(),
        status,
        seconds * 1000,
    )
    if client:
        line += b',"client":%s' % _text(client[0])
    if isinstance(caller, Key):
        line += b',"key":%s' % _text(caller.name)
    write(line + b"}\n")


def _stamp(now: float) -> bytes:
    """The time in UTC, as RFC 3339 with milliseconds."""
    second = int(now)
    return b"%s.%03dZ" % (_second(second), int((now - second) * 1000))


@lru_cache(maxsize=1)
def _second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
