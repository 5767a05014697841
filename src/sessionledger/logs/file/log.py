"""The file log: who reads and writes when, and why nothing acknowledged is missed.

**Writing.** One process writes at a time. It has `flock` on `ledger.lock` for a batch only: any
process may be next. It takes in what others wrote, judges the batch, and writes it at the end of
the file. Then it flushes, publishes the new durable offset, and only then answers.

**Reading.** A read asks the system for the size of the file. If this process has read as much,
nothing was appended, and memory answers. If the file is larger, the durable offset is read *after*
the size, and everything up to it is taken in. What was acknowledged before the read began was
published before, so it lies below that offset. Bytes behind it are one of these:

- within the claim of a writer, while somebody has the lock: a batch that is being written. It is
  not acknowledged, and not shown.
- within the claim, while nobody has the lock: left by a writer that died.
- behind the claim: appended by the reference, which claims and publishes nothing. The reader waits
  for the lock.

In the last two cases the reader takes the lock. It cuts off torn bytes, flushes, publishes, and
takes in the rest (`recovery`). A process that may not write sees what is published, or complete
lines where nothing is.

**Compaction** puts another file in the place of a topic's. The next refresh sees another inode, or
at least another time of writing (`compactor`, `checkpoint`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

from sessionledger.errors import LogUnavailable, NoLedger, StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs import units
from sessionledger.logs.arguments import check_id, check_limit, check_name, check_names, check_page
from sessionledger.logs.base import (
    ALL_ROWS,
    Check,
    Description,
    Fold,
    KeyState,
    Outcome,
    Row,
    RowFilter,
    StoredEvent,
    Unit,
)
from sessionledger.logs.compaction.contract import refuse_below
from sessionledger.logs.concurrency.forking import watch_forks
from sessionledger.logs.concurrency.greenlets import beside_greenlets
from sessionledger.logs.concurrency.group_commit import GroupCommit, each_alone
from sessionledger.logs.concurrency.lock_file import Lease
from sessionledger.logs.concurrency.locks import TimedLock
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS, until_of_read
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.file import consumers, lines
from sessionledger.logs.file.compaction.compactable import CompactableFiles
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.errors import (
    MAINTENANCE,
    NOT_PERMITTED,
    TOPICS,
    check_location,
    refuse_moved,
    translated_errors,
)
from sessionledger.logs.file.examination import examine
from sessionledger.logs.file.index import TopicIndex
from sessionledger.logs.file.refresh import Refreshed
from sessionledger.logs.file.topics import Topics
from sessionledger.logs.file.writer_lock import WriterLock
from sessionledger.logs.marks import id_of
from sessionledger.ownership import resolved

T = TypeVar("T")


class FileLog(CompactableFiles):
    """A ledger in a folder of text files, which any number of threads and processes share.

    A topic is read when somebody first asks about it, and its rows stay in memory. A process that
    may only read the folder sees everything, and appends nothing.
    durability: "full" (an answer means fsync'd) or "normal" (an answer survives the process, and
    a power loss may take the last moments). timeout: how many seconds a call waits for others.
    sync: what flushes an open file. Raises `LogUnavailable` or `NotALedger`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: str = "full",
        timeout: float = TIMEOUT_SECONDS,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self.path = Path(path).absolute()
        self.durability = durability
        self.timeout = timeout
        self._closed = False
        with translated_errors(self.path):
            self.path = resolved(path)
            self._disk = Disk(self.path, durability, sync)
            check_location(self.path)
            self._writer_lock = self._open_writer_lock()
        self._topics = Topics(self._disk, only_reads=self._writer_lock is None)
        self._known = self._topics.known
        self._begin()
        watch_forks(self)

    def _begin(self) -> None:
        """Start with locks that nobody holds: at first, and again in a forked child."""
        self._lock = TimedLock()  # never held while a thread waits for the writer's lock
        self._lock.timeout = self.timeout
        self._group = GroupCommit(each_alone(self._write), self.timeout, beside_greenlets)
        self._maintenance = Lease(self.path / MAINTENANCE, self.path)

    def _open_writer_lock(self) -> WriterLock | None:
        """The lock file; None where this process may only read."""
        try:
            self._disk.make()
            return WriterLock(self.path)
        except OSError as error:
            if error.errno not in NOT_PERMITTED or not self._disk.may_be_read():
                raise
            return None

    def before_fork(self, until: float) -> None:
        if self._writer_lock is not None:
            self._writer_lock.hold(until)
        self._lock.hold(until)

    def after_fork_in_parent(self) -> None:
        self._lock.let_go()
        if self._writer_lock is not None:
            self._writer_lock.release()

    def after_fork_in_child(self) -> None:
        self._maintenance.forget_in_child()
        self._begin()
        if self._writer_lock is not None:
            self._writer_lock.begin_in_child(is_open=not self._closed)

    # -- appending

    def fold_with(self, topic: str, fold: Fold) -> None:
        self._topics.folds[check_name("topic", topic)] = fold

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        self._check_open()
        check_name("topic", topic)
        units.check(batch, self._topics.folds.get(topic))
        return self._group.append(topic, batch, until)

    def _change(self, work: Callable[[], T]) -> T:
        """Do something while nobody else writes. Raises `Reentered`."""
        return self._group.run(partial(self._locked, work, until_of_read(self.timeout)))

    def _locked(self, work: Callable[[], T], until: float) -> T:
        self._check_open()
        if self._writer_lock is None:
            raise LogUnavailable(
                f"{self.path} can't be written: no permission, or a file system that is read-only"
            )
        with translated_errors(self.path):
            return self._writer_lock.run(work, self._check_healthy, until)

    def _write(self, topic: str, batch: Sequence[Unit], until: float) -> list[Outcome]:
        known = self._known.get(topic)
        if known is None or not known.is_unchanged():
            # What others wrote may be a whole file: nobody has to wait while it is read.
            with translated_errors(self.path), self._lock:
                self._check_open()
                self._topics.keep_rows(topic)
                self._topics.refresh(topic)
        return self._locked(partial(self._append, topic, batch), until)

    def _append(self, topic: str, batch: Sequence[Unit]) -> list[Outcome]:
        fold = self._topics.folds.get(topic)
        with self._lock:
            self._topics.keep_rows(topic)
            index = self._topics.adopt(topic).index
            keeps_rows = fold is not None or index.cut.id > 0
            table = self._topics.rows(topic, index) if keeps_rows else index.table
            due = table.aftermath() if table.due else []
            batch = [*due, *batch] if due else batch
            state = table.batch_state(index.head, batch, fold)
        plan = units.plan(topic, batch, fold, state)
        if plan.events:
            texts = [lines.encode(event) for event in plan.events]
            start = index.end
            stamp = self._disk.append(topic, index, b"".join(texts), plan.head.id)
            with self._lock:
                self._topics.take(topic, index, start, plan, texts, stamp)
        return plan.outcomes[len(due) :]

    def _alone(self, topic: str, work: Callable[[TopicIndex, RowTable], T]) -> T:
        def alone() -> T:
            with self._lock:
                index = self._topics.adopt(topic).index
                table = self._topics.rows(topic, index)
            return work(index, table)

        return self._change(alone)

    def _lease(self) -> AbstractContextManager[None]:
        if self._writer_lock is None:
            return nullcontext()  # it changes nothing in the folder
        with translated_errors(self.path):
            return self._maintenance.take()

    # -- asking

    def _ask(self, topic: str, question: Callable[[TopicIndex], T]) -> T:
        """Ask about a topic, with everything that was acknowledged before the call."""
        with translated_errors(self.path):
            self._check_open()
            check_name("topic", topic)
            with self._lock:
                seen = self._topics.refresh(topic)
                if seen.is_more and not seen.is_beyond_claim:
                    seen = self._unless_others_write(topic, seen)
                if not seen.is_beyond_claim or self._writer_lock is None:
                    return self._answer(topic, seen.index, question)
            self._change(partial(self._adopt, topic))
            with self._lock:
                return self._answer(topic, self._topics.refresh(topic).index, question)

    def _answer(self, topic: str, index: TopicIndex, question: Callable[[TopicIndex], T]) -> T:
        try:
            return question(index)
        except LogUnavailable:
            if index.is_of_current_file():
                raise
        # It was compacted since the refresh, and the answer is in another file.
        return self._answer(topic, self._topics.refresh(topic).index, question)

    def _unless_others_write(self, topic: str, seen: Refreshed) -> Refreshed:
        """Take in what a writer that died left behind, unless somebody is writing it now."""
        if self._writer_lock is None or self._disk.poison is not None:
            return seen
        return self._writer_lock.if_nobody_writes(partial(self._topics.adopt, topic), seen)

    def _adopt(self, topic: str) -> TopicIndex:
        with self._lock:
            return self._topics.adopt(topic).index

    def _ask_rows(self, topic: str, question: Callable[[RowTable], T]) -> T:
        self._topics.keep_rows(topic)

        def answer(index: TopicIndex) -> tuple[T, bool]:
            table = self._topics.rows(topic, index)
            return question(table), bool(table.due)

        answered, is_due = self._ask(topic, answer)
        if not is_due or self._writer_lock is None:
            return answered
        self._change(partial(self._append, topic, ()))
        return self._ask(topic, answer)[0]

    # -- events

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        page = check_page(after, limit)
        return self._ask(topic, lambda index: index.after(*page))

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        after, limit = check_page(after, limit)
        self._topics.keep_rows(topic)

        def events(index: TopicIndex) -> list[StoredEvent]:
            if index.checkpoint.row(key) is not None:
                refuse_below(index.cut.id, after)
            return index.events(self._topics.rows(topic, index).history(key, after, limit))

        return self._ask(topic, events)

    def latest(self, topic: str) -> int:
        return self._ask(topic, lambda index: index.head.id)

    def mark(self, topic: str) -> int:
        return self._ask_rows(topic, lambda table: id_of(table.mark))

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return self._group.waiters.wait_above(topic, after, lambda: self.latest(topic), timeout)

    # -- rows

    def row(self, topic: str, key: bytes) -> Row | None:
        return self._ask_rows(topic, lambda table: table.row(key))

    def state(self, topic: str, key: bytes) -> KeyState | None:
        index = self._known.get(topic)
        if index is not None and index.is_current():
            return index.state(key)
        return self._ask_rows(topic, lambda table: table.state(key))

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        limit = check_limit(limit)
        return self._ask_rows(topic, lambda table: table.list(where, after, limit))

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        return self._ask_rows(topic, lambda table: table.count(where))

    # -- consumers

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        names = check_names(topic, consumer)
        self._change(partial(consumers.ack, self._disk, *names, check_id(cursor)))

    def cursor(self, topic: str, consumer: str) -> int:
        check_names(topic, consumer)
        self._check_open()
        refuse_moved(self.path)
        with translated_errors(self.path):
            return consumers.cursor(self._disk, topic, consumer)

    # -- the whole

    def topics(self) -> list[str]:
        self._check_open()
        with translated_errors(self.path):
            names, compacted = self._disk.topics(), self._disk.compacted()
        return sorted(compacted.union(filter(self._holds, names)))

    def _holds(self, topic: str) -> bool:
        known = self._disk.published(topic)
        return (known is not None and known.durable > 0) or self.latest(topic) > 0

    def describe(self) -> Description:
        self._check_open()
        with translated_errors(self.path):
            details: dict[str, str | int | bool] = {
                "topics": len(self._disk.topics()),
                "bytes": self._disk.size(),
                "writable": self._writer_lock is not None,
            }
        return Description("file", str(self.path), self.durability, True, details)

    def examine(self, topic: str, check: Check) -> list[Finding]:
        self._check_open()
        with self._lock:
            known = self._topics.in_memory(check_name("topic", topic))
        return examine(self._disk, topic, check, known)

    def flush(self) -> None:
        if self._writer_lock is None:
            self._check_open()
        else:
            self._change(self._disk.flush)

    def close(self) -> None:
        if not self._closed:
            self._group.run(self._close)
            self._group.waiters.notify()

    def _close(self) -> None:
        self._closed = True
        if self._writer_lock is not None:
            self._writer_lock.close(until_of_read(self.timeout))
        with self._lock:
            self._known.clear()

    def _check_healthy(self) -> None:
        self._check_open()
        refuse_moved(self.path)
        self._disk.check_healthy()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.path} is closed")


class ReadOnlyFileLog(FileLog):
    """A ledger in a folder of text files, of which nothing is changed. Raises `NoLedger`."""

    def _open_writer_lock(self) -> None:
        if not (self.path / TOPICS).is_dir():
            raise NoLedger(self.path)
