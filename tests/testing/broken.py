"""Logs that are broken, each in one way: what they do wrong, the suite must notice.

Run by `test_suite_catches.py`, which names the tests that have to fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sessionledger import Change, Conflict, Finding, Log, Put, Row, StoreClosed, StoredEvent, Unit
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.base import ALL_ROWS, Check, Outcome, RowFilter
from sessionledger.logs.compaction.contract import Cut
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing import Harness
from sessionledger.testing.conformance import LogConformance
from sessionledger.testing.fixtures import Ledger
from tests.logs import bare_sqlite

SOON = 2.0


def pause() -> None:
    """Give the others a moment, to see what they should not."""
    threading.Event().wait(0.02)


class IgnoresReads(MemoryLog):
    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        return super().append(topic, [Unit(unit.changes, rule=unit.rule) for unit in batch], until)


class IgnoresVersions(MemoryLog):
    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        return super().append(topic, careless(batch), until)


def careless(batch: Sequence[Unit]) -> list[Unit]:
    """The units without their conditions on keys."""
    return [Unit([_careless(change) for change in unit.changes]) for unit in batch]


def _careless(change: Change) -> Change:
    put = change.put
    return change if put is None else replace(change, put=Put(put.key, put.draft, None))


class ChecksBeforeItWrites(MemoryLog):
    """Judges a condition, lets go of the lock, and writes without it."""

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        for change in [change for unit in batch for change in unit.changes]:
            put = change.put
            if put is not None and put.expected is not None:
                row = self.row(topic, put.key)
                if put.expected != (0 if row is None else row.version):
                    return super().append(topic, batch, until)
        pause()
        return super().append(topic, careless(batch), until)


class DecidesBeforeItWrites(MemoryLog):
    """Asks a rule, lets go of the lock, and writes what it decided."""

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        if len(batch) != 1 or batch[0].rule is None:
            return super().append(topic, batch, until)
        rule = batch[0].rule
        verdict = rule.decide(self.rows(topic, rule.where))
        if verdict is None:
            return [Conflict()]
        pause()
        ends = [Change(event) for _, event in verdict]
        return super().append(topic, [Unit([*ends, *batch[0].changes])], until)


class WritesHalfUnits(MemoryLog):
    """Conditions hold, but a unit is written event by event, and readers come between."""

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        if len(batch) != 1 or any(change.put for change in batch[0].changes):
            return super().append(topic, batch, until)
        for change in batch[0].changes[:-1]:
            super().append(topic, [Unit([change])], until)
            pause()
        return super().append(topic, [Unit(batch[0].changes[-1:])], until)


class AnswersStaleRows(MemoryLog):
    """Remembers the rows that it answered."""

    def __init__(self) -> None:
        super().__init__()
        self._answered: dict[tuple[str, bytes], Row | None] = {}

    def row(self, topic: str, key: bytes) -> Row | None:
        found = super().row(topic, key)
        return self._answered.setdefault((topic, key), found) if found else None


class PublishesOutOfOrder(MemoryLog):
    """Gives out ids first and shows the events later, as a sequence in a database does.

    Every other event is shown once a reader has passed it, or when none does for a while.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition(self._lock)
        self._hidden: set[int] = set()
        self._read_up_to = 0

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        with self._changed:
            outcomes = super().append(topic, batch, until)
            ids = {id for one in outcomes for id in getattr(one, "ids", ()) if id % 2}
            if ids:
                self._hidden |= ids
                self._changed.wait_for(lambda: self._read_up_to > max(ids), 0.2)
                self._hidden -= ids
            return outcomes

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        with self._changed:
            events = super().read(topic, after, limit)
            shown = [one for one in events if one.id not in self._hidden]
            self._read_up_to = max([self._read_up_to, *(one.id for one in shown)])
            self._changed.notify_all()
            return shown


class MovesCursorsBack(MemoryLog):
    def __init__(self) -> None:
        super().__init__()
        self._mine: dict[tuple[str, str], int] = {}

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        super().ack(topic, consumer, cursor)
        self._mine[topic, consumer] = cursor

    def cursor(self, topic: str, consumer: str) -> int:
        super().cursor(topic, consumer)
        return self._mine.get((topic, consumer), 0)


class ShowsWhatHappensMeanwhile(MemoryLog):
    """Shows the topic itself to whoever looks, and not how it stood."""

    def examine(self, topic: str, check: Check) -> list[Finding]:
        return list(check(_Live(self, topic)))


class _Live:
    chained = True

    def __init__(self, log: MemoryLog, topic: str) -> None:
        self._log = log
        self._topic = topic

    @property
    def head(self) -> int:
        return self._log.latest(self._topic)

    folded = head

    @property
    def cut(self) -> Cut:
        return self._log.cut(self._topic)

    def base(self, after: bytes, limit: int) -> list[Row]:
        return self._log.base(self._topic, after, limit)

    def cursors(self, topic: str) -> dict[str, int]:
        return self._log.cursors(topic)

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        return self._log.read(self._topic, after, limit)

    def rows(self, after: bytes, limit: int) -> list[Row]:
        return [row for row in self._log.rows(self._topic) if row.key > after][:limit]


class CopiesOnFork(MemoryLog):
    """A forked child goes on with a copy, and its parent never hears of it."""

    def after_fork_in_child(self) -> None:
        super().after_fork_in_child()
        self._forked = False


class LosesCancelledAppends(ImmediateLog):
    """Does something else first, during which a cancellation takes the append with it."""

    async def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().append(topic, units)


class BelongsToALoop(ImmediateLog):
    """Its lock belongs to the first loop that had to wait for it."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._turn = asyncio.Lock()

    async def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        async with self._turn:
            await asyncio.sleep(0)
            return await super().append(topic, units)


class Kept:
    """A memory log that is there when it is opened again, as long as this process lasts."""

    def __init__(self, place: Path, kept: dict[Path, tuple[MemoryLog, int]]) -> None:
        self._log, self._emptied = kept.setdefault(place, (MemoryLog(), 0))
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        if self._closed:
            raise StoreClosed("it is closed")
        return getattr(self._log, name)

    def fold_with(self, topic: str, fold: Any) -> None:
        self._log.fold_with(topic, fold)

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        read: list[StoredEvent] = self.__getattr__("read")(topic, max(after, self._emptied), limit)
        return read

    def close(self) -> None:
        self._closed = True


_kept: dict[Path, tuple[MemoryLog, int]] = {}


def open_kept(place: Path) -> Log:
    return Kept(place, _kept)


def empty_kept(place: Path, topic: str) -> None:
    log, _ = _kept[place]
    _kept[place] = (log, log.latest(topic))


def forget_kept(place: Path, topic: str) -> None:
    """Nothing is left, and so it all begins again: ids, and keys that were used."""
    _kept[place] = (MemoryLog(), 0)


class RemembersRows(SQLiteLog):
    """Remembers its listing until it appends something itself; nobody else may append."""

    _listing: list[Row] | None = None

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        self._listing = None
        return super().append(topic, batch, until)

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        if where != ALL_ROWS or after is not None:
            return super().rows(topic, where, after, limit)
        if self._listing is None:
            self._listing = super().rows(topic)
        return self._listing


class ReadsWhenItIsOpened(SQLiteLog):
    """What was there when it was opened is what there is, until it appends something itself."""

    _read: list[StoredEvent] | None = None

    def fold_with(self, topic: str, fold: Any) -> None:
        super().fold_with(topic, fold)
        self._read = self.read(topic)

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        self._read = None
        return super().append(topic, batch, until)

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        if self._read is None:
            return super().read(topic, after, limit)
        return [one for one in self._read if one.id > after][:limit]


class StarvesOne(SQLiteLog):
    """Of the processes that a test starts, the first to open it waits long before each turn."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._is_starved = False
        if multiprocessing.parent_process() is not None:
            with contextlib.suppress(FileExistsError):
                Path(f"{path}-starved").touch(exist_ok=False)
                self._is_starved = True

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        if self._is_starved:
            threading.Event().wait(0.2)
        return super().append(topic, batch, until)


class InLoops(LogConformance):
    """With another asynchronous colour than that of the package."""

    harness = Harness(open=lambda _: MemoryLog(), patience=SOON)
    kind: type[Ledger]

    @pytest.fixture
    def ledger(self, declared: Harness, tmp_path: Path) -> Iterator[Ledger]:
        ledger = self.kind(declared, tmp_path)
        yield ledger
        ledger.close()


class Losing(Ledger):
    def for_loops(self) -> ImmediateLog:
        return LosesCancelledAppends(self.log)


class Bound(Ledger):
    def for_loops(self) -> ImmediateLog:
        return BelongsToALoop(self.log)


class TestIgnoresReads(LogConformance):
    harness = Harness(open=lambda _: IgnoresReads())


class TestIgnoresVersions(LogConformance):
    harness = Harness(open=lambda _: IgnoresVersions())


class TestChecksBeforeItWrites(LogConformance):
    harness = Harness(open=lambda _: ChecksBeforeItWrites())


class TestDecidesBeforeItWrites(LogConformance):
    harness = Harness(open=lambda _: DecidesBeforeItWrites())


class TestWritesHalfUnits(LogConformance):
    harness = Harness(open=lambda _: WritesHalfUnits())


class TestAnswersStaleRows(LogConformance):
    harness = Harness(open=lambda _: AnswersStaleRows())


class TestPublishesOutOfOrder(LogConformance):
    harness = Harness(open=lambda _: PublishesOutOfOrder(), patience=SOON)


class TestMovesCursorsBack(LogConformance):
    harness = Harness(open=lambda _: MovesCursorsBack())


class TestShowsWhatHappensMeanwhile(LogConformance):
    harness = Harness(open=lambda _: ShowsWhatHappensMeanwhile())


class TestCopiesOnFork(LogConformance):
    harness = Harness(open=lambda _: CopiesOnFork())


class TestLosesCancelledAppends(InLoops):
    kind = Losing


class TestBelongsToALoop(InLoops):
    kind = Bound


class TestForgetsWhatWasRemoved(LogConformance):
    harness = Harness(open=open_kept, persists=True, empty=forget_kept)


class TestRemembersRows(LogConformance):
    harness = Harness(
        open=RemembersRows, persists=True, shared=True, append_bare=bare_sqlite.append
    )


class TestReadsWhenItIsOpened(LogConformance):
    harness = Harness(open=ReadsWhenItIsOpened, persists=True, shared=True, patience=SOON)


class TestStarvesOne(LogConformance):
    harness = Harness(open=StarvesOne, persists=True, shared=True)
