"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)


class Clock:
    """Call it for the present instant: `SessionStore.open(url, clock=Clock())`."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The present instant."""
        return self.now

    def advance(self, span: timedelta) -> datetime:
        """Let time pass; the new present."""
        self.now += span
        return self.now
