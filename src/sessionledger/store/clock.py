"""Clocks: what time it is, and whether that can be believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.errors import ClockJumped

Clock: TypeAlias = Callable[[], datetime]
"""Answers the present instant, aware."""

Monotonic: TypeAlias = Callable[[], float]
"""Answers seconds since some moment, and never goes back."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def system_clock() -> datetime:
    """The system's time, in UTC."""
    return datetime.now(UTC)


def system_monotonic() -> float:
    """Seconds since the system was started, those in which it was suspended included."""
    return time.clock_gettime(_CLOCK)


class ClockWatch:
    """Compares the wall clock, since the store was opened, with one that can't be set."""

    def __init__(self, wall: Clock, monotonic: Monotonic | None) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._began = None if monotonic is None else (wall(), monotonic())

    def check(self, now: datetime, newest: datetime) -> None:
        """Whether `now` may end sessions in a log whose newest event happened then.

        Raises `ClockJumped`.
        """
        wall = self._wall()
        if now - wall > CLOCK_TOLERANCE:
            raise ClockJumped("the instant to sweep at lies in the future")
        if newest - wall > CLOCK_TOLERANCE:
            raise ClockJumped(
                f"the newest event happened at {newest:%Y-%m-%d %H:%M:%S}Z, which lies in the "
                "future: this clock, or that of another writer, is wrong"
            )
        if self._began is not None and self._monotonic is not None:
            began, started = self._began
            drift = wall - began - timedelta(seconds=self._monotonic() - started)
            if abs(drift) > CLOCK_TOLERANCE:
                raise ClockJumped(
                    f"the clock was set by {drift.total_seconds():+.0f} s since the ledger was "
                    "opened: check it, and open the ledger again"
                )
