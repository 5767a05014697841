"""A log in memory: the worked example of the contract, for tests and for throw-away sessions."""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sessionledger.errors import InvalidEvent, LogUnavailable, StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs import units
from sessionledger.logs.base import (
    Check,
    Description,
    Fold,
    KeyState,
    Outcome,
    Progress,
    Row,
    StoredEvent,
    Unit,
    check_limit,
    check_name,
    key_state_of,
)
from sessionledger.logs.chain import EMPTY, Head
from sessionledger.logs.forking import watch_forks
from sessionledger.logs.snapshot import Snapshot
from sessionledger.logs.units import Plan, Tail


class _Topic:
    """The events, rows and histories of one topic. Guarded by the log's lock."""

    def __init__(self) -> None:
        self.fold: Fold | None = None
        self.events: list[StoredEvent] = []
        self.head: Head = EMPTY
        self.folded = 0
        self.forget_rows()

    def forget_rows(self) -> None:
        self.folded = 0
        self.rows: dict[bytes, Row] = {}
        self.owned: dict[str, list[bytes]] = {}
        self.called: dict[str, set[bytes]] = {}
        self.history: dict[bytes, list[int]] = {}

    def after(self, id: int, limit: int) -> list[StoredEvent]:
        start = bisect_right(self.events, id, key=lambda event: event.id)
        return self.events[start : start + limit]

    def owner_version(self, owner: str) -> int:
        keys = self.owned.get(owner)
        return self.rows[keys[-1]].created if keys else 0

    def tail(self, batch: Iterable[Unit]) -> Tail:
        keys = units.keys_of(batch, self.fold)
        rows = {key: self.rows[key] for key in keys if key in self.rows}
        return Tail(self.head, rows, {o: self.owner_version(o) for o in units.owners_of(batch)})

    def store(self, plan: Plan) -> None:
        self.events.extend(plan.events)
        for key, row in plan.rows.items():
            before = self.rows.get(key)
            self.rows[key] = row
            if before is None or before.owner != row.owner:
                self.give(row, before)
            if before is None or before.alias != row.alias:
                self.call(row, before)
        for link in plan.links:
            self.history.setdefault(link.key, []).append(link.id)

    def give(self, row: Row, before: Row | None) -> None:
        if before is not None:
            self.owned[before.owner].remove(row.key)
        mine = self.owned.setdefault(row.owner, [])
        insort(mine, row.key, key=lambda key: self.rows[key].created)

    def call(self, row: Row, before: Row | None) -> None:
        if before is not None and before.alias is not None:
            self.called[before.alias].discard(row.key)
        if row.alias is not None:
            self.called.setdefault(row.alias, set()).add(row.key)

    def keys_of(self, owner: str | None, alias: str | None) -> Iterable[bytes]:
        if alias is not None:
            return self.called.get(alias, ())
        return self.rows if owner is None else self.owned.get(owner, ())

    def catch_up(self) -> None:
        if self.fold is not None and self.folded < self.head.id:
            gap = self.after(self.folded, len(self.events))
            self.store(units.refold(self.fold, gap, dict(self.rows)))
            self.folded = self.head.id

    def select(
        self,
        owner: str | None,
        alias: str | None,
        live_at: int | None,
        expires_before: int | None,
    ) -> Iterable[Row]:
        for key in self.keys_of(owner, alias):
            row = self.rows[key]
            if owner is not None and row.owner != owner:
                continue
            if live_at is not None and not (row.live and row.expires > live_at):
                continue
            if expires_before is not None and not (row.live and row.expires < expires_before):
                continue
            yield row


class MemoryLog:
    """Everything in this process, gone with it. A forked child gets an error, not a copy."""

    def __init__(self) -> None:
        # Held through the lock itself: an interrupt can't come between taking it and the block.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._topics: dict[str, _Topic] = {}
        self._cursors: dict[tuple[str, str], int] = {}
        self._closed = False
        self._forked = False
        watch_forks(self)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._forked = True

    def fold_with(self, topic: str, fold: Fold) -> None:
        with self._lock:
            self._topic(topic).fold = fold

    def append(self, topic: str, batch: Sequence[Unit]) -> list[Outcome]:
        with self._lock:
            table = self._topic(topic)
            units.check(batch, table.fold)
            table.catch_up()
            plan = units.plan(topic, batch, table.fold, table.tail(batch))
            table.store(plan)
            table.head = plan.head
            if table.fold is not None:
                table.folded = plan.head.id
            self._changed.notify_all()
            return plan.outcomes

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        with self._lock:
            return self._topic(topic).after(after, check_limit(limit))

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        with self._lock:
            table = self._caught_up(topic)
            ids = [id for id in table.history.get(key, ()) if id > after][: check_limit(limit)]
            return [table.after(id - 1, 1)[0] for id in ids]

    def latest(self, topic: str) -> int:
        with self._lock:
            return self._topic(topic).head.id

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        with self._lock:
            table = self._topic(topic)
            self._changed.wait_for(lambda: table.head.id > after or self._closed, timeout)
            return self._topic(topic).head.id

    def row(self, topic: str, key: bytes) -> Row | None:
        with self._lock:
            return self._caught_up(topic).rows.get(key)

    def state(self, topic: str, key: bytes) -> KeyState | None:
        return key_state_of(self.row(topic, key))

    def rows(
        self,
        topic: str,
        *,
        owner: str | None = None,
        alias: str | None = None,
        live_at: int | None = None,
        expires_before: int | None = None,
        after: Row | None = None,
        limit: int = 1000,
    ) -> list[Row]:
        with self._lock:
            found = self._caught_up(topic).select(owner, alias, live_at, expires_before)
            place = _place_in(owner is not None or alias is not None, expires_before)
            ordered = sorted(found, key=place)
        start = 0 if after is None else bisect_right(ordered, place(after), key=place)
        return ordered[start : start + check_limit(limit)]

    def count(self, topic: str, *, owner: str | None = None, live_at: int | None = None) -> int:
        with self._lock:
            return sum(1 for _ in self._caught_up(topic).select(owner, None, live_at, None))

    def owner_version(self, topic: str, owner: str) -> int:
        with self._lock:
            return self._caught_up(topic).owner_version(owner)

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        with self._lock:
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
            place = (topic, check_name("consumer", consumer))
            self._cursors[place] = max(cursor, self._cursors.get(place, 0))

    def cursor(self, topic: str, consumer: str) -> int:
        with self._lock:
            self._topic(topic)
            return self._cursors.get((topic, check_name("consumer", consumer)), 0)

    def topics(self) -> list[str]:
        with self._lock:
            self._check_open()
            return sorted(name for name, table in self._topics.items() if table.head.id)

    def describe(self) -> Description:
        return Description("memory", "this process", "none", True, {})

    def examine(self, topic: str, check: Check) -> list[Finding]:
        with self._lock:
            table = self._topic(topic)
            view = Snapshot(
                table.events, table.rows.values(), head=table.head.id, folded=table.folded
            )
        return list(check(view))

    def flush(self) -> None:
        with self._lock:
            self._check_open()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._topics.clear()
            self._changed.notify_all()

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


def _place_in(named: bool, expires_before: int | None) -> Callable[[Row], Any]:
    if expires_before is not None:
        return lambda row: (row.expires, row.key)
    if named:
        return lambda row: row.created
    return lambda row: row.key
