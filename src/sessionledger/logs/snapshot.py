"""A view of a topic for logs that can copy what they hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from sessionledger.logs.base import Row, StoredEvent
from sessionledger.logs.compaction.contract import WHOLE, Cut


class Snapshot:
    """A `View` of events in their order and rows in any, which stays what it is."""

    chained = True

    def __init__(
        self,
        events: Iterable[StoredEvent],
        rows: Iterable[Row],
        *,
        head: int,
        folded: int | None,
        cut: Cut = WHOLE,
        base: Iterable[Row] = (),
        cursors: Mapping[tuple[str, str], int] = {},
    ) -> None:
        """cursors: by topic and consumer."""
        self.head = head
        self.folded = folded
        self.cut = cut
        self._base = sorted(base, key=_key)
        self._cursors = dict(cursors)
        self._events = list(events)
        self._rows = sorted(rows, key=_key)

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        """As `View.events`."""
        start = bisect_right(self._events, after, key=lambda event: event.id)
        return self._events[start : start + limit]

    def rows(self, after: bytes, limit: int) -> list[Row]:
        """As `View.rows`."""
        return _page(self._rows, after, limit)

    def base(self, after: bytes, limit: int) -> list[Row]:
        """As `View.base`."""
        return _page(self._base, after, limit)

    def cursors(self, topic: str) -> dict[str, int]:
        """As `View.cursors`."""
        return {name: at for (of, name), at in self._cursors.items() if of == topic}


def _page(rows: list[Row], after: bytes, limit: int) -> list[Row]:
    start = bisect_right(rows, after, key=_key)
    return rows[start : start + limit]


def _key(row: Row) -> bytes:
    return row.key
