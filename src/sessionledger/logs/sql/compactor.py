"""Compaction in a database: by many small transactions, and one that decides.

1. What an interrupted compaction left is removed: entries that no seal counts, and events that the
   newest seal removed. The events to be removed are archived.
2. The events are folded into entries of a new generation, which does not count yet.
3. Of keys that are over, entry and row become what remains of them, in one transaction. What is
   to be forgotten keeps its row for now, and its entry becomes an empty one: it has no entry.
4. One transaction appends the seal and stores the cut. From then on the new generation counts.
5. Rows of what was forgotten, events, links and superseded entries are deleted.

Nobody else changes entries meanwhile: `DatabaseLog.compact` has the lease. So they are read and
folded outside of transactions, and a transaction only writes. Only what changes rows, and the
seal, keeps the topic to itself: where a database lets others write meanwhile, they do.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from os import urandom
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from sessionledger.errors import MaintenanceRunning
from sessionledger.logs import units
from sessionledger.logs.base import (
    OVER,
    Appended,
    Change,
    Fold,
    Progress,
    Row,
    RowFilter,
    StoredEvent,
    Unit,
)
from sessionledger.logs.compaction.contract import FORGOTTEN, Compaction, Cut, Reduction, Segment
from sessionledger.logs.compaction.seal import BaseHash, seal
from sessionledger.logs.marks import Mark
from sessionledger.logs.sql import statements
from sessionledger.logs.sql.writer import Select, TopicLine, Writer, base_page, base_rows

T = TypeVar("T")
W = TypeVar("W", bound=Writer)

PAGE = 500
"""Events for each transaction: about as long as a few ordinary commits."""
ENTRIES = 100
"""Entries for each transaction, which are written to as many places."""
STAGED_BYTES = 1 << 24
"""What is folded in memory before it is written: a key with many events is written once."""
_ROW_BYTES = 500


class Compactor(Generic[W]):
    """Compacts one topic. cut: as it is before. `run` does it once."""

    def __init__(
        self,
        topic: str,
        fold: Fold,
        cut: Cut,
        compaction: Compaction,
        change: Callable[[Callable[[W], Any]], Any],
        select: Select,
        read: Callable[[int, int], list[StoredEvent]],
        links: tuple[str, str] | None,
    ) -> None:
        """change: does something in a transaction. select: all lines of a statement, outside of
        one. read: so many events after one of them. links: `CompactableDatabase._links`."""
        self._topic = topic
        self._fold = fold
        self._cut = cut
        self._compaction = compaction
        self._change = change
        self._select = select
        self._read = read
        self._links = links
        self._generation = compaction.removal.head.id
        self._hash = BaseHash()
        self._segment: Segment | None = None
        self._reduction = Reduction()
        self._job = urandom(16).hex()
        self._progress: Progress | None = None
        self._done = 0

    def run(self, progress: Progress | None) -> Reduction:
        """Compact; what became of the keys that are over."""
        self._progress = progress
        self._run()
        self._change(lambda writer: writer.then(statements.END_JOB, self._job))
        return self._reduction

    def between(self) -> None:
        """Tell the progress between two steps. What it raises is the end."""
        if self._progress is not None:
            self._progress(self._done)

    def _run(self) -> None:
        self._change(lambda writer: writer.then(statements.SET_JOB, self._job))
        line = self._alone(lambda _, line: line)
        if line.cut != self._cut.id or line.cut > self._generation:
            raise MaintenanceRunning("another compaction was faster: try again")
        self._clean(line)
        self._segment = self._compaction.keep(self._cut, self._page)
        if line.cut == self._generation:
            return
        self._stage(line)
        self._reduction = self._reduce(line)
        self._alone(self._seal)
        self._remove(replace(line, cut=self._generation))

    def _page(self, after: int, limit: int) -> list[StoredEvent]:
        self.between()
        return self._read(after, limit)

    def _clean(self, line: TopicLine) -> None:
        """Remove what an interrupted compaction left."""
        after = b""
        for keys in self._pages(statements.UNSEALED_KEYS, line):
            values = (line.number, line.cut, after, keys[-1])
            self._in_transaction(
                lambda writer: writer.then(statements.REMOVE_UNSEALED, *values)  # noqa: B023
            )
            after = keys[-1]
        if line.cut:
            self._remove(line)

    def _stage(self, line: TopicLine) -> None:
        """Fold the events into entries of the new generation."""
        after, mark, folded = line.cut, None, dict[bytes, Row]()
        while after < self._generation:
            self.between()
            events = [e for e in self._read(after, PAGE) if e.id <= self._generation]
            if not events:
                raise MaintenanceRunning("another program removed events meanwhile: try again")
            mark = self._fold_in(line, events, folded, mark)
            after = events[-1].id
            self._done += len(events)
            if sum(len(row.state) + _ROW_BYTES for row in folded.values()) > STAGED_BYTES:
                self._write(line, folded)
        self._write(line, folded)

    def _fold_in(
        self,
        line: TopicLine,
        events: Sequence[StoredEvent],
        folded: dict[bytes, Row],
        mark: Mark | None,
    ) -> Mark | None:
        """Fold events into rows, which are taken from the base where they are not there yet."""
        keys = {key for event in events if (key := self._fold.key(event)) is not None}
        known = base_rows(self._select, line.number, self._generation, keys - folded.keys())
        known |= {key: folded[key] for key in keys & folded.keys()}
        plan = units.refold(self._fold, events, known, mark)
        folded |= plan.rows
        return plan.mark

    def _write(self, line: TopicLine, folded: dict[bytes, Row]) -> None:
        """Write what was folded, in the order of keys: neighbours stand on one page."""
        keys = sorted(folded)
        for first in range(0, len(keys), ENTRIES):
            few = {key: folded[key] for key in keys[first : first + ENTRIES]}
            self._in_transaction(lambda writer: writer.put_base(line, self._generation, few))  # noqa: B023
        folded.clear()

    def _reduce(self, line: TopicLine) -> Reduction:
        """Replace what is over by what remains of it, and hash the base that comes out."""
        after, replaced, forgotten = b"", 0, 0
        while rows := base_page(self._select, line.number, self._generation, after, ENTRIES):
            after = rows[-1].key
            over = [row for row in rows if not row.live]
            changed: dict[bytes, Row | None] = {}
            if over:
                changed = self._alone(
                    lambda writer, line: self._reduced(writer, line, over)  # noqa: B023
                )
            remaining = [changed.get(row.key, row) for row in rows]
            self._hash.see(left for left in remaining if left is not None)
            gone = remaining.count(None)
            replaced, forgotten = replaced + len(changed) - gone, forgotten + gone
        return Reduction(replaced, forgotten)

    def _reduced(self, writer: W, line: TopicLine, over: Sequence[Row]) -> dict[bytes, Row | None]:
        """What remains of rows without a later event, where that is less than there was; None for
        what is to be forgotten."""
        current = writer.rows_of_keys(line, [row.key for row in over])
        changed: dict[bytes, Row | None] = {}
        stale: list[Row] = []
        for row in over:
            now = current.get(row.key)
            if now is not None and now.version != row.version:
                continue
            left = self._remaining(writer, line, row)
            if left != row:
                changed[row.key] = left
            if left is not None and now != left:
                stale.append(left)
        writer.put_base(line, self._generation, changed)
        writer.put_rows(line, stale)
        return changed

    def _remaining(self, writer: W, line: TopicLine, row: Row) -> Row | None:
        active: list[Row] = []
        if row.group is not None:
            active = writer.listed(line, RowFilter(group=row.group, live_at=OVER))
        left = self._compaction.remains(row, active)
        if left is None:
            return row
        if left == FORGOTTEN:
            return None
        return Row.of(row.key, row.version, row.created, left)

    def _seal(self, writer: W, line: TopicLine) -> None:
        event = seal(
            self._compaction, self._cut, self._hash, self._segment, self._reduction.forgotten
        )
        (sealed,) = writer.write(self._topic, [Unit((Change(event),))], self._fold)
        assert isinstance(sealed, Appended)
        writer.set_cut(line, Cut(self._compaction.removal.head, sealed.ids[0]))

    def _remove(self, line: TopicLine) -> None:
        """Delete what was forgotten, the events up to the cut, and superseded entries."""
        for found in self._pages(statements.FORGOTTEN_KEYS, line):
            self._alone(
                lambda writer, line: writer.forget(line, found, self._fold)  # noqa: B023
            )
        removed = 0
        while removed < line.cut:
            removed = self._in_transaction(
                lambda writer: self._remove_events(writer, line, removed)  # noqa: B023
            )
        self._remove_links(line)
        after = b""
        while rows := base_page(self._select, line.number, line.cut, after, ENTRIES):
            keys = (after, rows[-1].key)
            self._in_transaction(lambda writer: writer.remove_superseded(line, *keys))  # noqa: B023
            after = rows[-1].key

    def _remove_links(self, line: TopicLine) -> None:
        """Delete the links to events that are gone. A key may have any number of them."""
        if self._links is None:
            return
        (find, remove), last = self._links, (b"", 0)
        while links := self._select(find, line.number, *last, line.cut, PAGE):
            keys, ids = map(list, zip(*links, strict=True))
            self._in_transaction(lambda writer: writer.then(remove, keys, ids, line.number))  # noqa: B023
            last = links[-1]

    def _remove_events(self, writer: W, line: TopicLine, after: int) -> int:
        """Delete a page of events after one of them; the last one that is gone."""
        ((first,),) = writer.select(statements.FIRST_EVENT, self._topic, after)
        if first is None or first > line.cut:
            return line.cut
        until = min(line.cut, first + PAGE - 1)
        writer.remove_events(line, after, until)
        return int(until)

    def _pages(self, statement: str, line: TopicLine) -> Iterator[list[bytes]]:
        """The keys that a statement finds, a page at a time."""
        after = b""
        while lines := self._select(statement, line.number, line.cut, after, ENTRIES):
            keys = [key for (key,) in lines]
            yield keys
            after = keys[-1]

    def _alone(self, work: Callable[[W, TopicLine], T]) -> T:
        """Do something while nobody else writes the topic, with its line as it is then."""
        return self._in_transaction(lambda writer: work(writer, writer.line(self._topic)))

    def _in_transaction(self, work: Callable[[W], T]) -> T:
        """Do something in a transaction. Raises `MaintenanceRunning`."""
        self.between()

        def checked(writer: W) -> T:
            if writer.job() != self._job:
                raise MaintenanceRunning("another process took over the maintenance: try again")
            return work(writer)

        # Others wait for what comes: no full collection of garbage shall come in its middle.
        gc.collect(0)
        answer: T = self._change(checked)
        return answer
