"""What this process knows of a topic's file: the offset of each event, and the rows they fold to.

The index keeps no event, only its id and offset, in 16 bytes. Events are read from the file. Rows
are folded when somebody first asks for them.

The log's lock guards an index, except for `is_current` and `state`. These rely on `end` changing
last: if it equals the size of the file, everything before it is known.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sessionledger.errors import CorruptLog, LogUnavailable, MaintenanceRunning
from sessionledger.logs.base import ALL_ROWS, Fold, KeyState, Progress, Row, StoredEvent
from sessionledger.logs.chain import Head, head_after
from sessionledger.logs.compaction.contract import refuse_below
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.file import lines
from sessionledger.logs.file.damage import Damage
from sessionledger.logs.file.errors import opened_file
from sessionledger.logs.file.recovery.checkpoint import NOTHING, Checkpoint
from sessionledger.logs.units import Plan

BLOCK_BYTES = 1 << 20
_PAGE = 1000


class Stamp(NamedTuple):
    """What identifies one state of a file: its inode, and when it was last written.

    Inodes are used again, for instance for the file that replaces one that was compacted.
    """

    inode: int
    modified: int


NO_FILE = Stamp(0, 0)


def stamp_of(found: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return Stamp(found.st_ino, found.st_mtime_ns)


class TopicIndex:
    """The index of one topic.

    end: up to where the file was read. stamp: of the file that was read. checkpoint: what that file
    continues from, and cut: the cut there.
    """

    def __init__(self, topic: str, path: Path, checkpoint: Checkpoint = NOTHING) -> None:
        self.topic = topic
        self.path = path
        self.checkpoint = checkpoint
        self.cut = checkpoint.cut
        self.stamp = NO_FILE
        self.end = 0
        self.head = self.cut.head
        self.table = RowTable(checkpoint.base)
        self.folded = 0
        self.damage = Damage(topic, self.head)
        self._name = str(path)
        self._ids = array("q")
        self._offsets = array("q")

    def __len__(self) -> int:
        return len(self._ids)

    def is_unchanged(self) -> bool:
        """Whether the file is the one that was read, and no longer than what was read."""
        try:
            found = os.stat(self._name)  # noqa: PTH116  half as fast with a Path
        except OSError:
            return False
        return found.st_size == self.end and (found.st_ino, found.st_mtime_ns) == self.stamp

    def is_of_current_file(self) -> bool:
        """Whether the topic's file is still the one that was read; it may have grown."""
        try:
            file = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        with opened_file(file):
            return self._is_of(file)

    def is_there(self, file: int | None) -> bool:
        """Whether the open file has the topic's name; None stands for a file that is not there."""
        try:
            found = os.stat(self._name)  # noqa: PTH116  as above
        except FileNotFoundError:
            return file is None
        return file is not None and found.st_ino == os.fstat(file).st_ino

    def is_current(self) -> bool:
        """Whether it is unchanged, and all of it is folded."""
        return self.is_unchanged() and self.folded == len(self._ids) and not self.table.due

    def state(self, key: bytes) -> KeyState | None:
        """What `Log.state` answers."""
        return self.table.state(key)

    @property
    def folded_id(self) -> int:
        """The id of the last event that is folded."""
        return self._ids[self.folded - 1] if self.folded else self.cut.id

    # -- growing

    def scan(self, file: int, upto: int, fold: Fold | None, newest: int = 0) -> None:
        """Take in the lines of the open file up to an offset, where one ends.

        newest: the id of the last event before that offset, 0 if it is not known.
        """
        while self.end < upto:
            block = read_block(file, self.end, upto)
            self._take_in(block, fold, newest if self.end + len(block) == upto else None)

    def take(self, plan: Plan, texts: Sequence[bytes], stamp: Stamp, *, with_rows: bool) -> None:
        """Take in a batch that was just written, and flushed, at the end."""
        offset, folded = self.end, self.folded == len(self._ids)
        for event, text in zip(plan.events, texts, strict=True):
            self._ids.append(event.id)
            self._offsets.append(offset)
            offset += len(text)
        if with_rows and folded:
            self.table.store(plan)
            self.folded = len(self._ids)
        self.head = plan.head
        self.damage.follow(plan.head)
        self.stamp = stamp
        self.end = offset

    def fold_rest(self, fold: Fold) -> None:
        """Fold the events that were read before anybody asked for rows."""
        for page in self._pages(self.folded):
            self.damage.fold(self.table, fold, page)
            self.folded += len(page)

    def rebuilt(self, fold: Fold, progress: Progress | None) -> tuple[RowTable, int]:
        """All rows, folded again, and of how many events. Others may append meanwhile."""
        return self._folded(fold, len(self), progress)

    def base_at(self, head: Head, fold: Fold, progress: Progress | None) -> dict[bytes, Row]:
        """What the events up to one of them fold to, by its key and in the order of keys."""
        stop = bisect_right(self._ids, head.id)
        if not stop or head_after(self._event(stop - 1)) != head:
            raise MaintenanceRunning("another program replaced events meanwhile: try again")
        table, _ = self._folded(fold, stop, progress)
        return {row.key: row for row in table.list(ALL_ROWS, None, None)}

    def _folded(self, fold: Fold, stop: int, progress: Progress | None) -> tuple[RowTable, int]:
        table, done = RowTable(self.checkpoint.base), 0
        for page in self._pages(0, stop):
            self.damage.fold(table, fold, page)
            done += len(page)
            if progress is not None:
                progress(done)
        return table, done

    def put_rows(self, fold: Fold, table: RowTable, done: int) -> None:
        """Replace the table by one that was folded from so many events.

        The new one is complete before it is seen: `state` reads the table without a lock.
        """
        for page in self._pages(done):
            self.damage.fold(table, fold, page)
        self.table = table
        self.folded = len(self._ids)

    def _take_in(self, block: bytes, fold: Fold | None, newest: int | None) -> None:
        """Take in a block of lines; `newest` is not None if it is the last one for now."""
        events: list[StoredEvent] = []
        offset, last = self.end, self.head.id
        for line in block.split(b"\n"):
            if line.strip() and events and self.damage.belongs_to_last(line):
                events[-1] = lines.with_rest(events[-1], line)
            elif line.strip():
                for begins, text, event in lines.pieces_of(line, last):
                    self._ids.append(event.id)
                    self._offsets.append(offset + begins)
                    self.damage.see(text, event)
                    events.append(event)
                    last = event.id
            offset += len(line) + 1
        if newest is not None:
            if last < newest:
                # Its line is gone: an event that can't be read stands for it, behind all lines.
                events.append(lines.event_of(b"", newest - 1))
                self._ids.append(newest)
                self._offsets.append(offset - 1)
                self.damage.see(b"", events[-1])
            self.damage.end()
        if fold is not None and self.folded + len(events) == len(self._ids):
            self.damage.fold(self.table, fold, events)
            self.folded = len(self._ids)
        if events:
            self.head = head_after(events[-1])
        self.end += len(block)

    # -- being replaced

    def offset_behind(self, id: int) -> int:
        """Where the events begin that follow one of them."""
        return self._offset(bisect_right(self._ids, id))

    def continued(self, checkpoint: Checkpoint) -> TopicIndex:
        """The index of the file that replaced this one, as far as it is known by this one.

        The rows change that were replaced by what remains of them.
        """
        index, cut = TopicIndex(self.topic, self.path, checkpoint), checkpoint.cut
        is_rewritten = checkpoint.number != self.checkpoint.number
        if is_rewritten or not self.cut.id < cut.id <= self.head.id:
            return index
        start, begins = bisect_right(self._ids, cut.id), self.offset_behind(cut.id)
        index._ids = self._ids[start:]
        index._offsets = array("q", [offset - begins for offset in self._offsets[start:]])
        index.end, index.head, index.damage = self.end - begins, self.head, self.damage
        if self.folded == len(self):
            self.table.remove_events(cut.id, checkpoint.base)
            index.table, index.folded = self.table, len(index)
        return index

    # -- reading

    def after(self, id: int, limit: int) -> list[StoredEvent]:
        """The events above an id, at most so many. Raises `HistoryCut`."""
        refuse_below(self.cut.id, id)
        start = bisect_right(self._ids, id)
        found: list[StoredEvent] = []
        for page in self._pages(start, min(len(self._ids), start + limit)):
            found += page
        return found

    def events(self, ids: Sequence[int]) -> list[StoredEvent]:
        """The events with these ids."""
        return [self._event(bisect_left(self._ids, id)) for id in ids]

    def _event(self, number: int) -> StoredEvent:
        (event,) = next(self._pages(number, number + 1))
        return event

    def _offset(self, number: int) -> int:
        return self._offsets[number] if number < len(self._offsets) else self.end

    def holds(self, other: TopicIndex) -> bool:
        """Whether this file continues the other one: it has the other's newest event."""
        if other.head.id <= self.cut.id:
            known = self.cut.head
            return other.head.id < known.id or other.head.hash in (None, known.hash)
        newest = self.after(other.head.id - 1, 1)
        return bool(newest) and head_after(newest[0]) == other.head

    def _pages(self, start: int, stop: int | None = None) -> Iterator[list[StoredEvent]]:
        stop = len(self._ids) if stop is None else stop
        if start >= stop:
            return
        with opened_file(os.open(self._name, os.O_RDONLY | os.O_CLOEXEC)) as file:
            if not self._is_of(file):
                raise LogUnavailable(f"{self.path} was replaced while it was read: try again")
            for first in range(start, stop, _PAGE):
                yield self._page(file, first, min(stop, first + _PAGE))

    def _is_of(self, file: int) -> bool:
        """Whether the open file is the one that was read, and not another with its inode."""
        found = os.fstat(file)
        if stamp_of(found) == self.stamp or found.st_ino != self.stamp.inode or not self._ids:
            return found.st_ino == self.stamp.inode
        last = len(self._ids) - 1
        return (
            found.st_size >= self.end and head_after(*self._page(file, last, last + 1)) == self.head
        )

    def _page(self, file: int, first: int, stop: int) -> list[StoredEvent]:
        begins = self._offsets[first]
        text = read_exactly(file, begins, self._offset(stop))
        events: list[StoredEvent] = []
        last = self._ids[first - 1] if first else self.cut.id
        for index in range(first, stop):
            behind = self._offset(index + 1)
            piece = text[self._offsets[index] - begins : behind - begins].strip(b"\n")
            events.append(lines.event_of(piece, last if piece else self._ids[index] - 1))
            last = self._ids[index]
        return events


def reader_of(file: int) -> Callable[[int, int], bytes]:
    """What reads the bytes of an open file between two offsets."""
    return lambda start, end: read_exactly(file, start, end)


def read_exactly(file: int, start: int, end: int) -> bytes:
    """The bytes between two offsets. Raises `CorruptLog` if there are fewer."""
    parts: list[bytes] = []
    while start < end:
        part = os.pread(file, end - start, start)
        if not part:
            raise CorruptLog("a topic's file became shorter while it was read")
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def read_block(file: int, start: int, upto: int) -> bytes:
    """Whole lines from an offset on, about a megabyte of them, but not beyond another one."""
    size = BLOCK_BYTES
    while True:
        block = read_exactly(file, start, min(upto, start + size))
        if start + len(block) == upto:
            return block
        whole = block.rfind(b"\n") + 1
        if whole:
            return block[:whole]
        size *= 2
