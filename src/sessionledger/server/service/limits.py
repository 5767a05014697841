"""Limits on what one bearer may cause: writes in a minute, and streams at a time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from sessionledger import Session
from sessionledger.server.http.problems import too_many, unavailable

BUCKETS_KEPT = 10_000
FAMILIES_OF_A_PRINCIPAL = 10
"""The sessions of a principal may cause so many times the writes of one family."""
_MINUTE = 60.0


class WriteLimit:
    """How many writes each family and principal may still cause: buckets that refill by the minute.

    Each worker keeps its own buckets, of those that wrote last. A handle has none: its bearer gets
    another by rotating. Ending a session is never refused, and so never counted.
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = float(per_minute)
        self._monotonic = monotonic
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, session: Session) -> None:
        """Count a write to a session. Raises `HTTPProblem` after too many."""
        family, most = session.family or session.handle, self._per_minute
        self._take(("session", family), most)
        self._take(("principal", session.principal), most * FAMILIES_OF_A_PRINCIPAL)

    def _take(self, whose: tuple[str, str], most: float) -> None:
        left = self._left(whose, most)
        if left < 1:
            raise too_many(f"too many writes to one {whose[0]}", (1 - left) * _MINUTE / most)
        self._buckets[whose] = (left - 1, self._monotonic())
        self._buckets.move_to_end(whose)
        if len(self._buckets) > BUCKETS_KEPT:
            self._buckets.popitem(last=False)

    def _left(self, whose: tuple[str, str], most: float) -> float:
        left, since = self._buckets.get(whose, (most, 0.0))
        return min(most, left + (self._monotonic() - since) * most / _MINUTE)


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
