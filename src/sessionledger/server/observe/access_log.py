"""The access log: a line of JSON for each request, in which no token can stand.

The path is told as the route that it came to, and never as it was sent: what a client puts into a
path, a query or a header is not ours to write down.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import msgspec

from sessionledger.server.observe.metrics import Tally
from sessionledger.server.service.keys import Key

STDERR = 2
Write: TypeAlias = Callable[[bytes], object]
Request: TypeAlias = tuple[float, str, str, int, float, str | None, Key | None]
"""When, method, route, status, seconds, the client's address, and the admin key it came with."""
SECONDS_TO_GATHER = 0.01

_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))
_encode_lines = msgspec.json.Encoder().encode_lines


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A request as it is written down. milliseconds: until all was handed over."""

    time: str
    method: str
    route: str
    status: int
    milliseconds: float
    client: str | None = None
    key: str | None = None


class Noted:
    """Counts and writes down what was answered, all of some milliseconds together.

    That takes little longer for many than for one, and nobody waits for it.
    """

    def __init__(self, tally: Tally, write: Write | None) -> None:
        self._tally = tally
        self._write = write
        self._requests: list[Request] = []

    def note(
        self,
        method: str,
        route: str,
        status: int,
        begun: float,
        client: str | None,
        key: Key | None,
    ) -> None:
        """Note a request that was answered just now. begun: by the performance counter."""
        if not self._requests:
            asyncio.get_running_loop().call_later(SECONDS_TO_GATHER, self.hand_over)
        seconds = time.perf_counter() - begun
        self._requests.append((time.time(), method, route, status, seconds, client, key))

    def hand_over(self) -> None:
        """Count and write down what is noted."""
        noted, self._requests = self._requests, []
        observe = self._tally.observe
        for _, _, route, status, seconds, _, _ in noted:
            observe(route, status, seconds)
        if self._write is not None and noted:
            self._write(_encode_lines([_line(*request) for request in noted]))

    def exposition(self) -> bytes:
        """The counts, with all that this process has noted."""
        self.hand_over()
        return self._tally.exposition()


def _line(
    now: float,
    method: str,
    route: str,
    status: int,
    seconds: float,
    client: str | None,
    key: Key | None,
) -> Line:
    milliseconds = int(seconds * 1_000_000) / 1000
    name = None if key is None else key.name
    return Line(_stamp(now), method, route, status, milliseconds, client, name)


def write_to_stderr(lines: bytes) -> None:
    """Write to the standard error of the process, which nobody buffers. Pieces of whole lines that
    a pipe takes at once, so that the lines of several workers don't mix."""
    while lines:
        end = len(lines)
        if end > select.PIPE_BUF:
            end = lines.rindex(b"\n", 0, select.PIPE_BUF) + 1
        lines = lines[os.write(STDERR, lines[:end]) :]


def _stamp(now: float) -> str:
    """The time in UTC, as RFC 3339 with milliseconds."""
    second = int(now)
    return _second(second) + _MILLISECONDS[int((now - second) * 1000)]


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
