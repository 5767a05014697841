"""Limits on what one bearer or one session may cause: writes in a minute, and streams at a time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from sessionledger.server.http.problems import too_many, unavailable

HANDLES_KEPT = 10_000
_MINUTE = 60.0


class WriteLimit:
    """How many writes each handle may still cause: a bucket that refills by the minute.

    Each worker keeps its own buckets, for the handles that wrote last. Ending a session is never
    refused, and so never counted.
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = float(per_minute)
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, handle: str) -> None:
        """Count a write. Raises `HTTPProblem` after too many."""
        left = self._left(handle)
        if left < 1:
            seconds = (1 - left) * _MINUTE / self._per_minute
            raise too_many("too many writes to one session", seconds)
        self._buckets[handle] = (left - 1, self._monotonic())
        self._buckets.move_to_end(handle)
        if len(self._buckets) > HANDLES_KEPT:
            self._buckets.popitem(last=False)

    def _left(self, handle: str) -> float:
        left, since = self._buckets.get(handle, (self._per_minute, 0.0))
        refilled = (self._monotonic() - since) * self._per_minute / _MINUTE
        return min(self._per_minute, left + refilled)


class StreamLimit:
    """At most so many streams are open. on_change: called with the number of open streams."""

    def __init__(self, maximum: int, on_change: Callable[[int], None]) -> None:
        self._maximum = maximum
        self._on_change = on_change
        self._open = 0

    def acquire(self) -> None:
        """Count one more stream, until `release`. Raises `HTTPProblem` where too many are open."""
        if self._open >= self._maximum:
            raise unavailable("too_many_streams", f"{self._maximum} streams are open, as allowed")
        self._add(1)

    def release(self) -> None:
        """Count one stream less."""
        self._add(-1)

    def _add(self, count: int) -> None:
        self._open += count
        self._on_change(self._open)
