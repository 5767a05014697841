"""A view of a topic for logs that can copy what they hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from sessionledger.logs.base import Row, StoredEvent


class Snapshot:
    """A `View` of events in their order and rows in any, which stays what it is."""

    def __init__(
        self,
        events: Iterable[StoredEvent],
        rows: Iterable[Row],
        *,
        head: int,
        folded: int,
        chained: bool = True,
    ) -> None:
        self.head = head
        self.folded = folded
        self.chained = chained
        self._events = list(events)
        self._rows = sorted(rows, key=lambda row: row.key)

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        """As `View.events`."""
        start = bisect_right(self._events, after, key=lambda event: event.id)
        return self._events[start : start + limit]

    def rows(self, after: bytes, limit: int) -> list[Row]:
        """As `View.rows`."""
        start = bisect_right(self._rows, after, key=lambda row: row.key)
        return self._rows[start : start + limit]
