"""Marks: an event that ends every key that was begun before it.

A mark is appended like any event, so it costs the same however many keys there are. No row changes
then. As long as the mark is in force, a log applies it to each row that it reads. Such a row is
not live, and its version is at least the mark's id. So whatever was decided on an older version
conflicts. Ids are compared, never times.

The mark stays in force until every row has an end of its own. The topic's fold says which events
set and lift it (`Fold.marks`, `Fold.mark`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from sessionledger.logs.base import Fold, Row, RowFilter, StoredEvent


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The mark that is in force, and the fold that knows what it makes of a row."""

    event: StoredEvent
    fold: Fold

    @property
    def id(self) -> int:
        """The id of its event."""
        return self.event.id

    def ends(self, row: Row) -> bool:
        """Whether it is the end of a row that has none of its own."""
        return row.live and row.created < self.event.id

    def apply(self, row: Row) -> Row:
        """The row as it is to be read. `expires` stays: it is the position in some listings."""
        if not self.ends(row):
            return row
        draft = self.fold.evolve(row, self.event)
        assert draft is not None
        return Row(
            row.key,
            max(row.version, self.event.id),
            row.created,
            row.owner,
            row.expires,
            False,
            draft.state,
            row.alias,
            row.group,
            row.replaced,
        )


def mark_of(id: int, found: Sequence[StoredEvent], fold: Fold) -> Mark:
    """A mark by its id, and the event found there. It may have been removed, and still counts."""
    is_there = bool(found) and found[0].id == id
    return Mark(found[0] if is_there else StoredEvent(id, "", b"", {}, 0), fold)


def apply(mark: Mark | None, rows: Iterable[Row]) -> list[Row]:
    """The rows as they are to be read."""
    return list(rows) if mark is None else [mark.apply(row) for row in rows]


def matching(mark: Mark | None, rows: Iterable[Row], where: RowFilter) -> Iterator[Row]:
    """The rows that a filter matches, as they are to be read."""
    for row in rows:
        read = row if mark is None else mark.apply(row)
        if where.matches(read) and not (where.marked and read is row):
            yield read


def id_of(mark: Mark | None) -> int:
    """The id of a mark's event, 0 without a mark."""
    return 0 if mark is None else mark.event.id
