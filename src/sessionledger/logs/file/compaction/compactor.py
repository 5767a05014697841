"""Compaction of a topic's file: another file takes its place, with the remaining events alone.

1. What an interrupted compaction left is completed, or removed. The events are archived.
2. The events up to the cut are folded into a base, and rows that are over are reduced.
3. The remaining events are copied, up to where the file ends for now. Others write meanwhile.
4. Under the writer's lock the rest is copied, and the seal is added. Then both new files are put in
   their places, as `replacing` says.

All steps are flushed, whatever the durability: a loss would not be the last moments, but all
events. The caller has the lease, so nobody else changes checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from sessionledger.errors import MaintenanceRunning
from sessionledger.logs import units
from sessionledger.logs.base import Change, Fold, Progress, Row, StoredEvent, Unit
from sessionledger.logs.compaction.contract import Compaction, Cut, Reduction, Segment
from sessionledger.logs.compaction.seal import BaseHash, seal
from sessionledger.logs.embedded.row_table import RowTable, reduce_base
from sessionledger.logs.file import lines
from sessionledger.logs.file.compaction.replacing import Replacing, replacing, settle
from sessionledger.logs.file.disk import Disk, write
from sessionledger.logs.file.index import BLOCK_BYTES, TopicIndex
from sessionledger.logs.file.recovery import checkpoint

_PAGE = 500
"""Rows that are reduced while readers of this process wait."""


class _Base(NamedTuple):
    """The base of an attempt, as the checkpoint has it.

    reduced: what remains of rows that are over, where that is less than there was.
    """

    text: checkpoint.Writing
    hash: BaseHash
    reduced: Mapping[bytes, Row | None]


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
            checkpoints = self._disk.next_checkpoint(self._topic).parent
            self._disk.make_folder(checkpoints)
            self._disk.anchor(self._topic, index.checkpoint.since)
            for folder in (checkpoints, self._disk.root):
                self._disk.flush_folder(folder)

    def _attempt(self, before: Cut, base: Mapping[bytes, Row], start: int) -> Reduction | None:
        """Compact the events before an offset; None if a row was reduced, and changed meanwhile."""
        reduced = self._reduced(base)
        with replacing(self._disk, self._topic) as files:
            written = self._write(files.file, base, reduced)
            upto = self._copied(files, start)
            return self._alone(partial(self._seal, before, written, files, upto))

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
        written = _Base(checkpoint.Writing(), BaseHash(), reduced)
        remaining = [reduced.get(key, row) for key, row in base.items()]
        rows = [row for row in remaining if row is not None]
        for first in range(0, len(rows), _PAGE):
            self._between()
            page = rows[first : first + _PAGE]
            written.hash.see(page)
            write(file, written.text.rows(page))
        os.fsync(file)
        return written

    def _copied(self, files: Replacing, upto: int) -> int:
        """Copy events behind an offset, until a moment's worth of them is left; up to where."""
        while (end := self._newest().end) - upto > BLOCK_BYTES:
            self._between()
            files.copy(upto, end)
            os.fsync(files.new)
            upto = end
        return upto

    def _seal(
        self,
        before: Cut,
        base: _Base,
        files: Replacing,
        upto: int,
        index: TopicIndex,
        table: RowTable,
    ) -> Reduction | None:
        """Finish both files, and put them in their places."""
        if index.cut != before or not index.is_there(files.old):
            raise MaintenanceRunning("the topic's file was replaced meanwhile: try again")
        head = self._compaction.removal.head
        if any(table.rows[key].version > head.id for key in base.reduced):
            return None
        forgotten = sum(row is None for row in base.reduced.values())
        told = seal(self._compaction, before, base.hash, self._segment, forgotten)
        unit = Unit((Change(told),))
        state = table.batch_state(index.head, [unit], self._fold)
        (sealed,) = units.plan(self._topic, [unit], self._fold, state).events
        files.copy(upto, index.end)
        write(files.new, lines.encode(sealed))
        number = index.checkpoint.number
        files.put(base.text, Cut(head, sealed.id), number, sealed.id, index.end)
        return Reduction(len(base.reduced) - forgotten, forgotten)
