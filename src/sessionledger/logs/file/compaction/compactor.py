"""Compaction of a topic's file: another file takes its place, with the remaining events alone.

1. What an interrupted compaction left is completed, or removed. The events are archived.
2. The events up to the cut are folded into a base, and rows that are over are reduced.
3. The remaining events are copied, up to where the file ends for now. Others write meanwhile.
4. Under the writer's lock the rest is copied, and the seal is added. Both new files are flushed.
5. The new checkpoint gets its name. It does not count yet. Then the new file replaces the topic's.
   This is the moment: before it the topic is as it was, after it the topic is compacted.
6. It is published that the new file is durable, and the new checkpoint replaces the one before it.
   If that is left undone, readers understand what is there, and the next run does it.

All steps are flushed, whatever the durability: a loss would not be the last moments, but all
events. The caller has the lease, so nobody else changes checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from sessionledger.errors import LogUnavailable, MaintenanceRunning
from sessionledger.logs import units
from sessionledger.logs.base import Change, Fold, Progress, Row, StoredEvent, Unit
from sessionledger.logs.compaction.contract import Compaction, Cut, Reduction, Segment
from sessionledger.logs.compaction.seal import BaseHash, seal
from sessionledger.logs.embedded.row_table import RowTable, reduce_base
from sessionledger.logs.file import lines
from sessionledger.logs.file.disk import Disk, write
from sessionledger.logs.file.errors import opened_file
from sessionledger.logs.file.index import BLOCK_BYTES, TopicIndex, read_exactly
from sessionledger.logs.file.recovery import checkpoint
from sessionledger.logs.file.recovery.durable_offset import Published

_PAGE = 500
"""Rows that are reduced while readers of this process wait."""


class _Base(NamedTuple):
    """The base of an attempt, in an open draft of the checkpoint.

    reduced: what remains of rows that are over, where that is less than there was.
    """

    file: int
    text: checkpoint.Writing
    hash: BaseHash
    reduced: Mapping[bytes, Row | None]


class _Copy(NamedTuple):
    """An open draft of the new file, which has the old one's events up to an offset."""

    old: int
    new: int
    upto: int


class Compactor:
    """Compacts one topic. `run` does it once."""

    def __init__(
        self,
        topic: str,
        fold: Fold,
        compaction: Compaction,
        disk: Disk,
        newest: Callable[[], TopicIndex],
        ask_rows: Callable[[Callable[[RowTable], Reduction]], Reduction],
        alone: Callable[[Callable[[TopicIndex, RowTable], Reduction | None]], Reduction | None],
    ) -> None:
        """newest: the topic's index, refreshed. ask_rows: asks its rows. alone: does something with
        both while nobody writes."""
        self._topic = topic
        self._fold = fold
        self._compaction = compaction
        self._disk = disk
        self._newest = newest
        self._ask_rows = ask_rows
        self._alone = alone
        self._segment: Segment | None = None
        self._progress: Progress | None = None
        self._path, self._next = disk.topic(topic), disk.next_checkpoint(topic)

    def run(self, progress: Progress | None) -> Reduction:
        """Compact; what became of the keys that are over."""
        self._progress = progress
        self._alone(self._clean)
        index, head = self._newest(), self._compaction.removal.head
        if head.id < index.cut.id:
            raise MaintenanceRunning("another compaction was faster: try again")
        self._segment = self._compaction.keep(index.cut, partial(self._page, index))
        if head.id == index.cut.id:
            return Reduction()
        base = index.base_at(head, self._fold, progress)
        reduced = None
        while reduced is None:
            reduced = self._attempt(index.cut, base, index.offset_behind(head.id))
        return reduced

    def _page(self, index: TopicIndex, after: int, limit: int) -> list[StoredEvent]:
        self._between()
        return index.after(after, limit)

    def _between(self) -> None:
        """Tell the progress between two steps. What it raises is the end."""
        if self._progress is not None:
            self._progress(self._compaction.removal.events)

    def _clean(self, index: TopicIndex, _: RowTable) -> None:
        """Complete what an interrupted compaction left, or remove it; and flush what stays."""
        settle(self._disk, self._topic, index.checkpoint.since)
        if index.end:
            self._disk.make_folder(self._next.parent)
            self._disk.anchor(self._topic, index.checkpoint.since)
            for folder in (self._next.parent, self._disk.root):
                self._disk.flush_folder(folder)

    def _attempt(self, before: Cut, base: Mapping[bytes, Row], start: int) -> Reduction | None:
        """Compact the events before an offset; None if a row was reduced, and changed meanwhile."""
        reduced = self._reduced(base)
        with (
            opened_file(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)) as old,
            self._disk.draft(self._next) as file,
            self._disk.draft(self._path) as new,
        ):
            written = self._write(file, base, reduced)
            copy = self._copied(_Copy(old, new, start))
            return self._alone(partial(self._seal, before, written, copy))

    def _reduced(self, base: Mapping[bytes, Row]) -> dict[bytes, Row | None]:
        """What remains of the rows that are over, where that is less than there was; None for what
        is forgotten."""
        over = [row for row in base.values() if not row.live]
        reduced: dict[bytes, Row | None] = {}
        for first in range(0, len(over), _PAGE):
            self._between()
            before = {row.key: row for row in over[first : first + _PAGE]}
            page = dict(before)
            self._ask_rows(partial(reduce_base, page, remains=self._compaction.remains))
            left = {key: page.get(key) for key in before}
            reduced.update((key, row) for key, row in left.items() if row != before[key])
        return reduced

    def _write(
        self, file: int, base: Mapping[bytes, Row], reduced: Mapping[bytes, Row | None]
    ) -> _Base:
        written = _Base(file, checkpoint.Writing(), BaseHash(), reduced)
        remaining = [reduced.get(key, row) for key, row in base.items()]
        rows = [row for row in remaining if row is not None]
        for first in range(0, len(rows), _PAGE):
            self._between()
            page = rows[first : first + _PAGE]
            written.hash.see(page)
            write(file, written.text.rows(page))
        os.fsync(file)
        return written

    def _copied(self, copy: _Copy) -> _Copy:
        """Copy events, until a moment's worth of them is left."""
        while (end := self._newest().end) - copy.upto > BLOCK_BYTES:
            self._between()
            copy = _copy(copy, end)
            os.fsync(copy.new)
        return copy

    def _seal(
        self, before: Cut, base: _Base, copy: _Copy, index: TopicIndex, table: RowTable
    ) -> Reduction | None:
        """Finish both files, and put them in their places."""
        if index.cut != before or not index.is_there(copy.old):
            raise MaintenanceRunning("the topic's file was replaced meanwhile: try again")
        head = self._compaction.removal.head
        if any(table.rows[key].version > head.id for key in base.reduced):
            return None
        forgotten = sum(row is None for row in base.reduced.values())
        told = seal(self._compaction, before, base.hash, self._segment, forgotten)
        unit = Unit((Change(told),))
        state = table.batch_state(index.head, [unit], self._fold)
        (sealed,) = units.plan(self._topic, [unit], self._fold, state).events
        cut = Cut(head, sealed.id)
        write(_copy(copy, index.end).new, lines.encode(sealed))
        os.fsync(copy.new)
        old, new = checkpoint.fingerprint(copy.old), checkpoint.fingerprint(copy.new)
        if old.size != index.end:
            raise LogUnavailable(f"another program wrote to {self._path}: try again")
        write(base.file, base.text.end(cut, new, old, index.checkpoint.number))
        os.fsync(base.file)
        self._disk.put_draft(self._next)
        self._disk.put_draft(self._path)
        since = checkpoint.since_of(cut, index.checkpoint.number)
        self._disk.publish(self._topic, Published(new.size, new.size, since, new.size, sealed.id))
        self._next.replace(self._disk.checkpoint(self._topic))
        return Reduction(len(base.reduced) - forgotten, forgotten)


def _copy(copy: _Copy, end: int) -> _Copy:
    copy_bytes(copy.old, copy.new, copy.upto, end)
    return copy._replace(upto=end)


def copy_bytes(old: int, new: int, start: int, end: int) -> None:
    """Write the bytes of an open file between two offsets to the end of another one."""
    for begins in range(start, end, BLOCK_BYTES):
        write(new, read_exactly(old, begins, min(end, begins + BLOCK_BYTES)))


def settle(disk: Disk, topic: str, since: int) -> None:
    """Complete or remove what replaced a topic's file; since: of its checkpoint."""
    disk.remove_drafts(topic)
    following = disk.next_checkpoint(topic)
    new = checkpoint.read(following)
    if new is not None and new.since == since:
        following.replace(disk.checkpoint(topic))
    else:
        following.unlink(missing_ok=True)
