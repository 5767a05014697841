"""Limits on what one bearer or one session may cause: writes in a minute and at a time, streams."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sessionledger import Session
from sessionledger.server.http.problems import too_many, unavailable

BUCKETS_KEPT = 10_000
FAMILIES_OF_A_PRINCIPAL = 10
"""The sessions of a principal may cause so many times the writes of one family."""
_MINUTE = 60.0


T = TypeVar("T")


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


class SharedCalls(Generic[T]):
    """At most one call for each key is under way, and one waits for it.

    Each of many concurrent touches of a session would conflict with all others, and decide again
    each time. A call that is under way is not joined: its answer may be older than the request. So
    all that ask meanwhile share the one after it, and each answer is at or after its own request.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[T]] = {}
        self._waiting: dict[str, asyncio.Task[T]] = {}

    async def call(self, key: str, function: Callable[[], Awaitable[T]]) -> T:
        """The answer of a call that began after this. function: what is called, if nobody else's
        is."""
        task = self._waiting.get(key)
        if task is None:
            task = asyncio.create_task(self._call(key, self._running.get(key), function))
            self._waiting[key] = task
        # Others may wait for the same.
        return await asyncio.shield(task)

    async def _call(
        self, key: str, before: asyncio.Task[T] | None, function: Callable[[], Awaitable[T]]
    ) -> T:
        if before is not None:
            await asyncio.wait({before})
        task = self._running[key] = self._waiting.pop(key)
        try:
            return await function()
        finally:
            if self._running[key] is task:
                del self._running[key]
