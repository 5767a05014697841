"""The access log: a line of JSON for each request, which can't hold a token.

The path is logged as the route that it matched. A path, a query and headers as the client sent them
may hold secrets, and are never written.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache

import msgspec

from sessionledger.server.observe.log_writer import Write
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.service.limits import RequestCount

FLUSH_SECONDS = 0.01

_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))
_encode_lines = msgspec.json.Encoder().encode_lines


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A request as it is written."""

    time: str
    method: str
    route: str
    status: int
    milliseconds: float
    client: str | None = None
    key: str | None = None


class RequestRecorder:
    """Counts requests and writes their lines, those of ten milliseconds together.

    One write of many lines takes little longer than that of one. write: must not block.
    """

    def __init__(self, metrics: RequestMetrics, write: Write | None) -> None:
        self._metrics = metrics
        self._write = write
        self._lines: list[Line] = []

    def record(
        self, method: str, route: str, status: int, begun: float, count: RequestCount
    ) -> None:
        """Record a request that was answered just now. begun: by the performance counter."""
        seconds = time.perf_counter() - begun
        self._metrics.observe(route, status, seconds)
        if self._write is None:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        milliseconds = int(seconds * 1_000_000) / 1000
        key = None if count.caller is None else count.caller.name
        self._lines.append(Line(_now(), method, route, status, milliseconds, count.client, key))

    def flush(self) -> None:
        """Write the lines that were recorded."""
        lines, self._lines = self._lines, []
        if self._write is not None and lines:
            self._write(_encode_lines(lines))


def _now() -> str:
    """The time in UTC, as RFC 3339 with milliseconds."""
    now = time.time()
    second = int(now)
    return _second(second) + _MILLISECONDS[int((now - second) * 1000)]


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
