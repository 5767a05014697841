"""Clocks: what time it is, and whether that can be believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.core.instant import parse_instant
from sessionledger.errors import ClockJumped
from sessionledger.plain import EPOCH

Clock: TypeAlias = Callable[[], datetime]
"""Answers the present instant, aware."""

Monotonic: TypeAlias = Callable[[], float]
"""Answers seconds since some moment, and never goes back."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def system_clock() -> datetime:
    """The system's time, in UTC."""
    now = datetime.now(UTC)
    # What freezes time answers a class of its own.
    return now if type(now) is type(EPOCH) else parse_instant("clock", now)


def system_monotonic() -> float:
    """Seconds since the system was started, those in which it was suspended included."""
    return time.clock_gettime(_CLOCK)


class ClockWatch:
    """Compares the wall clock with one that can't be set, and with those of other writers."""

    def __init__(self, wall: Clock, monotonic: Monotonic | None) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._began = None if monotonic is None else (wall(), monotonic())
        self._seen: tuple[int, datetime] | None = None

    def beside(self) -> ClockWatch:
        """One for another topic."""
        return ClockWatch(self._wall, self._monotonic)

    def difference(self, id: int, newest: datetime) -> timedelta:
        """How far the newest event, and its clock, is ahead of this one; negative for behind.

        Zero where they may agree. An event can't be older than the last one that was there when
        it was looked for before.
        """
        wall = self._wall()
        if newest > wall:
            return newest - wall
        if self._seen is not None and id > self._seen[0] and newest < self._seen[1]:
            return newest - self._seen[1]
        return timedelta(0)

    def check(self, now: datetime, id: int, newest: datetime) -> None:
        """Whether `now` may end sessions in a log with this newest event, which happened then.

        Raises `ClockJumped`.
        """
        wall = self._wall()
        if now - wall > CLOCK_TOLERANCE:
            raise ClockJumped("the instant to sweep at lies in the future")
        difference = self.difference(id, newest)
        if abs(difference) > CLOCK_TOLERANCE:
            raise ClockJumped(
                f"the newest event happened at {newest:%Y-%m-%d %H:%M:%S}Z, by a clock that is "
                f"{difference.total_seconds():+.0f} s from this one: one of the two is wrong"
            )
        if self._began is not None and self._monotonic is not None:
            began, started = self._began
            drift = wall - began - timedelta(seconds=self._monotonic() - started)
            if abs(drift) > CLOCK_TOLERANCE:
                raise ClockJumped(
                    f"the clock was set by {drift.total_seconds():+.0f} s since the ledger was "
                    "opened: check it, and open the ledger again"
                )
        self._seen = (id, wall)
