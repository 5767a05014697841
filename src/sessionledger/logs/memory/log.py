"""A log in memory: the worked example of the contract, for tests and for throw-away sessions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock

from sessionledger.errors import InvalidEvent, LogUnavailable, MaintenanceRunning, StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs import units
from sessionledger.logs.arguments import check_id, check_limit, check_name, check_names, check_page
from sessionledger.logs.base import (
    ALL_ROWS,
    Appended,
    Change,
    Check,
    Description,
    Fold,
    KeyState,
    Outcome,
    Progress,
    Row,
    RowFilter,
    StoredEvent,
    Unit,
)
from sessionledger.logs.chain import Head, head_after
from sessionledger.logs.compaction.contract import (
    WHOLE,
    Compaction,
    Cut,
    Leased,
    Reduction,
    Rewriting,
    refuse_below,
)
from sessionledger.logs.compaction.seal import BaseHash, seal
from sessionledger.logs.concurrency.forking import watch_forks
from sessionledger.logs.concurrency.locks import TimedLock
from sessionledger.logs.concurrency.reentrancy import ReentrancyGuard
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS, Waiters
from sessionledger.logs.embedded.row_table import RowTable, fold_base, reduce_base
from sessionledger.logs.marks import id_of
from sessionledger.logs.snapshot import Snapshot
from sessionledger.logs.units import Plan

POLL_SECONDS = 1.0
"""How often a waiting thread looks, in case an interrupt kept it from being woken."""


class _Topic:
    """The events and rows of one topic. Guarded by the log's lock."""

    def __init__(self) -> None:
        self.fold: Fold | None = None
        self.events: list[StoredEvent] = []
        self.cut = WHOLE
        self.base: dict[bytes, Row] = {}
        self.forget_rows()

    @property
    def head(self) -> Head:
        return head_after(self.events[-1]) if self.events else self.cut.head

    def forget_rows(self) -> None:
        self.folded = self.cut.id
        self.table = RowTable(self.base.values())
        self.is_whole = True

    def after(self, id: int, limit: int) -> list[StoredEvent]:
        start = bisect_right(self.events, id, key=lambda event: event.id)
        return self.events[start : start + limit]

    def remove(self, upto: Cut, base: dict[bytes, Row]) -> None:
        """Remove the events up to a cut, and have all rows folded again from the base."""
        self.cut, self.base = upto, base
        self.events = self.after(upto.id, len(self.events))
        self.forget_rows()

    def store(self, plan: Plan) -> None:
        # It is written by this, at once. An interrupt after it may leave half of the rows.
        self.events.extend(plan.events)
        if self.fold is not None and plan.events:
            self._change(partial(self.table.store, plan))

    def catch_up(self) -> None:
        if not self.is_whole:
            self.forget_rows()
        if self.fold is not None and self.folded < self.head.id:
            gap = self.after(self.folded, len(self.events))
            self._change(partial(self.table.fold, self.fold, gap))

    def _change(self, change: Callable[[], None]) -> None:
        """Change the rows. If that is interrupted, the next read folds them again."""
        table, upto, self.is_whole = self.table, self.head.id, False
        change()
        if self.table is table:
            self.folded, self.is_whole = upto, True


class MemoryLog(Leased):
    """Everything in this process, gone with it. A forked child gets an error, not a copy."""

    def __init__(self, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.timeout = timeout
        self._begin()
        self._topics: dict[str, _Topic] = {}
        self._cursors: dict[tuple[str, str], int] = {}
        self._closed = False
        self._forked = False
        self._maintenance = Lock()
        watch_forks(self)

    @classmethod
    def holding(cls, topic: str, events: list[StoredEvent], cut: Cut = WHOLE) -> MemoryLog:
        """A log that has these events of a topic, with the ids and hashes that they have."""
        log = cls()
        log._topics[topic] = table = _Topic()
        table.remove(cut, {})
        table.events = events
        return log

    def _begin(self) -> None:
        # Held through the lock itself: an interrupt can't come between taking it and the block.
        self._lock = TimedLock()
        self._lock.timeout = self.timeout
        self._waiters = Waiters()
        self._guard = ReentrancyGuard()

    def before_fork(self, until: float) -> None:
        self._lock.hold(until)

    def after_fork_in_parent(self) -> None:
        self._lock.let_go()

    def after_fork_in_child(self) -> None:
        self._begin()
        self._forked = True

    def fold_with(self, topic: str, fold: Fold) -> None:
        with self._lock:
            self._topic(topic).fold = fold

    def append(
        self,
        topic: str,
        batch: Sequence[Unit],
        until: float | None = None,  # noqa: ARG002  no line
    ) -> list[Outcome]:
        with self._lock:
            return self._guard.run(partial(self._append, topic, batch))

    def _append(self, topic: str, batch: Sequence[Unit]) -> list[Outcome]:
        table = self._topic(topic)
        units.check(batch, table.fold)
        table.catch_up()
        state = table.table.batch_state(table.head, batch, table.fold)
        plan = units.plan(topic, batch, table.fold, state)
        try:
            table.store(plan)
        finally:
            self._waiters.notify()
        return plan.outcomes

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        after, limit = check_page(after, limit)
        with self._lock:
            table = self._topic(topic)
            refuse_below(table.cut.id, after)
            return table.after(after, limit)

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        after, limit = check_page(after, limit)
        with self._lock:
            table = self._caught_up(topic)
            if key in table.base:
                refuse_below(table.cut.id, after)
            ids = table.table.history(key, after, limit)
            return [table.after(id - 1, 1)[0] for id in ids]

    def latest(self, topic: str) -> int:
        with self._lock:
            return self._topic(topic).head.id

    def mark(self, topic: str) -> int:
        with self._lock:
            return id_of(self._caught_up(topic).table.mark)

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return self._waiters.wait_above(topic, after, lambda: self.latest(topic), timeout)

    def row(self, topic: str, key: bytes) -> Row | None:
        with self._lock:
            return self._caught_up(topic).table.row(key)

    def state(self, topic: str, key: bytes) -> KeyState | None:
        with self._lock:
            return self._caught_up(topic).table.state(key)

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        with self._lock:
            table = self._caught_up(topic).table
            return table.list(where, after, check_limit(limit))

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        with self._lock:
            return self._caught_up(topic).table.count(where)

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        with self.lease(), self._lock:
            table = self._topic(topic)
            if table.fold is None:
                raise InvalidEvent(f"the rows of {topic!r} can be folded only with its fold")
            table.forget_rows()
            table.catch_up()
            done = len(table.events)
        if progress is not None:
            progress(done)
        return done

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        with self._lock:
            self._topic(topic)
            names = check_names(topic, consumer)
            self._cursors[names] = max(check_id(cursor), self._cursors.get(names, 0))

    def cursor(self, topic: str, consumer: str) -> int:
        with self._lock:
            self._topic(topic)
            return self._cursors.get(check_names(topic, consumer), 0)

    def topics(self) -> list[str]:
        with self._lock:
            self._check_open()
            return sorted(name for name, table in self._topics.items() if table.head.id)

    def compactable(self) -> MemoryLog:
        return self

    def cut(self, topic: str) -> Cut:
        with self._lock:
            return self._topic(topic).cut

    def base_row(self, topic: str, key: bytes) -> Row | None:
        with self._lock:
            return self._topic(topic).base.get(key)

    def base(self, topic: str, after: bytes, limit: int) -> list[Row]:
        with self._lock:
            base = self._topic(topic).base
            return [base[key] for key in sorted(key for key in base if key > after)[:limit]]

    def cursors(self, topic: str) -> dict[str, int]:
        with self._lock:
            self._topic(topic)
            return {name: at for (of, name), at in self._cursors.items() if of == topic}

    def forget_cursor(self, topic: str, consumer: str) -> None:
        with self._lock:
            self._topic(topic)
            self._cursors.pop(check_names(topic, consumer), None)

    @contextmanager
    def _lease(self) -> Iterator[None]:
        if not self._maintenance.acquire(blocking=False):
            raise MaintenanceRunning("another thread maintains this log: try again later")
        try:
            yield
        finally:
            self._maintenance.release()

    def compact(
        self, topic: str, compaction: Compaction, progress: Progress | None = None
    ) -> Reduction:
        with self.lease(), self._lock:
            table, head = self._caught_up(topic), compaction.removal.head
            fold = units.fold_of({} if table.fold is None else {topic: table.fold}, topic)
            segment = compaction.keep(table.cut, table.after)
            if head.id == table.cut.id:
                return Reduction()
            removed = [event for event in table.events if event.id <= head.id]
            base = fold_base(fold, table.base, removed)
            reduced = reduce_base(base, table.table, compaction.remains)
            hash = BaseHash()
            hash.see(base.values())
            told = seal(compaction, table.cut, hash, segment, reduced.forgotten)
            unit = Unit((Change(told),))
            (sealed,) = self._guard.run(partial(self._append, topic, [unit]))
            assert isinstance(sealed, Appended)
            table.remove(Cut(head, sealed.ids[0]), base)
            table.catch_up()
        if progress is not None:
            progress(len(removed))
        return reduced

    def rewrite(self, topic: str, rewriting: Rewriting, progress: Progress | None = None) -> None:
        with self._lock:
            table, replaced = self._topic(topic), rewriting.events
            stubs = {event.id: event for event in (*replaced, *rewriting.seals)}
            table.events = [stubs.get(event.id, event) for event in table.events]
            for key in table.base.keys() & rewriting.keys:
                table.base[key] = rewriting.row(table.base[key])
            table.forget_rows()
            table.catch_up()
        if progress is not None:
            progress(len(replaced))

    def purge(self) -> tuple[str, ...]:
        return ()

    def describe(self) -> Description:
        return Description("memory", "this process", "none", True, {})

    def examine(self, topic: str, check: Check) -> list[Finding]:
        with self._lock:
            table = self._topic(topic)
            view = Snapshot(
                table.events,
                table.table.rows.values(),
                head=table.head.id,
                folded=table.folded,
                cut=table.cut,
                base=table.base.values(),
                cursors=self._cursors,
            )
        return list(check(view))

    def flush(self) -> None:
        with self._lock:
            self._check_open()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._topics.clear()
            self._waiters.notify()

    def _topic(self, name: str) -> _Topic:
        self._check_open()
        table = self._topics.get(name)
        if table is None:
            table = self._topics[check_name("topic", name)] = _Topic()
        return table

    def _caught_up(self, name: str) -> _Topic:
        table = self._topic(name)
        table.catch_up()
        return table

    def _check_open(self) -> None:
        if self._forked:
            raise LogUnavailable(
                "a memory log lives in the process that opened it, not in its forked children: "
                "open sqlite:///… to share sessions between processes"
            )
        if self._closed:
            raise StoreClosed("the memory log is closed")
