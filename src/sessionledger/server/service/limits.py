"""Limits on what one bearer or one session may cause: writes in a minute, and streams at a time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from weakref import finalize

from sessionledger.server.http.problems import too_many, unavailable

HANDLES_KEPT = 10_000
_MINUTE = 60.0


class WriteLimit:
    """How many writes each handle may still cause: a bucket that refills by the minute.

    Only the handles seen last are kept, each worker its own. Ending a session is never refused,
    and so never counted.
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, handle: str) -> None:
        """Count a write. Raises `Refused` where there were too many."""
        left = self._left(handle)
        if left < 1:
            raise too_many("too many writes to one session", (1 - left) * _MINUTE / self._most)
        self._buckets[handle] = (left - 1, self._monotonic())
        self._buckets.move_to_end(handle)
        if len(self._buckets) > HANDLES_KEPT:
            self._buckets.popitem(last=False)

    def _left(self, handle: str) -> float:
        left, since = self._buckets.get(handle, (self._most, 0.0))
        return min(self._most, left + (self._monotonic() - since) * self._most / _MINUTE)


class Place:
    """Of a stream among those that may be open: until it ends, or until nobody holds the place,
    since a stream whose client went before it began is never told that it ended."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = finalize(self, give_back)

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self._give_back()  # once, however often it is asked for


class StreamLimit:
    """How many streams are open, of so many at most; `tell` is told each time that it changes."""

    def __init__(self, most: int, tell: Callable[[int], None]) -> None:
        self._most = most
        self._tell = tell
        self._open = 0

    def place(self) -> Place:
        """A place for one more stream. Raises `Refused` where there is none."""
        if self._open >= self._most:
            raise unavailable("too_many_streams", "as many streams are open as are allowed")
        self._count(1)
        return Place(lambda: self._count(-1))

    def _count(self, more: int) -> None:
        self._open += more
        self._tell(self._open)
