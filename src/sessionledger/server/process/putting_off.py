"""A timer that is put off far more often than it rings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PutOff:
    """Rings so many seconds after it was last begun, unless it was ended since.

    To begin and to end it again is to note the time: a timer of the loop's runs beside it, and
    looks what is left when it rings.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, ring: Callable[[], None]
    ) -> None:
        self._now, self._call_later = loop.time, loop.call_later
        self._seconds = seconds
        self._ring = ring
        self._end: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on."""
        self._end = self._now() + self._seconds
        if self._timer is None:
            self._timer = self._call_later(self._seconds, self._look)

    def end(self) -> None:
        """It is not to ring."""
        self._end = None

    def close(self) -> None:
        """It will never ring."""
        self._end = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._end is None:
            return
        left = self._end - self._now()
        if left > 0:
            self._timer = self._call_later(left, self._look)
        else:
            self._end = None
            self._ring()
