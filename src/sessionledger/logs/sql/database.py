"""What logs in a database have in common: reads by one statement, and rows that are brought up to
date before they answer."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from sessionledger.logs import units
from sessionledger.logs.arguments import check_id, check_limit, check_name, check_names, check_page
from sessionledger.logs.base import (
    ALL_ROWS,
    Fold,
    Outcome,
    Progress,
    Row,
    RowFilter,
    StoredEvent,
    Unit,
)
from sessionledger.logs.concurrency.greenlets import Beside
from sessionledger.logs.concurrency.group_commit import Batch, GroupCommit
from sessionledger.logs.concurrency.waiting import POLL_SECONDS, until_of_read
from sessionledger.logs.marks import apply, mark_of
from sessionledger.logs.sql import statements
from sessionledger.logs.sql.writer import Writer

T = TypeVar("T")

_CURRENT_ATTEMPTS = 3


class Queries(Protocol):
    """The statements of a database that are its own, and what their lines mean.

    Those about rows have a first value that stands for the topic.
    """

    EVENTS_AFTER: str
    ROW: str

    def listing(
        self, what: str, where: RowFilter = ..., after: Row | None = ..., limit: int | None = ...
    ) -> tuple[str, list[Any]]: ...
    def stored_events(self, lines: Sequence[Any]) -> list[StoredEvent]: ...
    def stored_rows(self, lines: Sequence[Any]) -> list[Row]: ...


W = TypeVar("W", bound=Writer)


class DatabaseReads(ABC):
    """As in `Log`."""

    _queries: Queries

    @abstractmethod
    def _select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        """All lines of one statement."""

    def __init__(self) -> None:
        super().__init__()
        self._folds: dict[str, Fold] = {}

    @abstractmethod
    def _with_mark(self, topic: str, sql: str, values: Sequence[Any]) -> tuple[list[Any], int]:
        """All lines of a statement about rows, which are folded up to the head, and the id of the
        mark in force.

        The first value, which stands for the topic, is still missing.
        """

    def _of_topic(self, topic: str, sql: str, values: Sequence[Any]) -> list[Any]:
        return self._with_mark(topic, sql, values)[0]

    def _rows(self, topic: str, sql: str, values: Sequence[Any]) -> list[Row]:
        """The rows that a statement finds, as they are to be read."""
        found, mark = self._with_mark(topic, sql, values)
        rows = self._queries.stored_rows(found)
        if not mark:
            return rows
        events = self._queries.stored_events(
            self._select(self._queries.EVENTS_AFTER, (topic, mark - 1, 1))
        )
        return apply(mark_of(mark, events, units.fold_of(self._folds, topic)), rows)

    def fold_with(self, topic: str, fold: Fold) -> None:
        self._folds[check_name("topic", topic)] = fold

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        values = (check_name("topic", topic), *check_page(after, limit))
        return self._queries.stored_events(self._select(self._queries.EVENTS_AFTER, values))

    def latest(self, topic: str) -> int:
        return self._number(statements.HEAD, check_name("topic", topic))

    def mark(self, topic: str) -> int:
        return self._with_mark(topic, self._queries.ROW, (b"",))[1]

    def row(self, topic: str, key: bytes) -> Row | None:
        found = self._rows(topic, self._queries.ROW, (key,))
        return found[0] if found else None

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        page = (where, after, check_limit(limit))
        sql, values = self._queries.listing(statements.ROW_COLUMNS, *page)
        return self._rows(topic, sql, values)

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        sql, values = self._queries.listing("count(*)", where)
        return cast(int, self._of_topic(topic, sql, values)[0][0])

    def cursor(self, topic: str, consumer: str) -> int:
        return self._number(statements.CURSOR, *check_names(topic, consumer))

    def topics(self) -> list[str]:
        return [topic for (topic,) in self._select(statements.TOPICS, ())]

    def _number(self, sql: str, *values: Any) -> int:
        """The one number that a statement answers; 0 for none."""
        found = self._select(sql, values)
        return int(found[0][0]) if found else 0


class DatabaseLog(DatabaseReads, Generic[W]):
    """A log that may also be written."""

    timeout: float
    _poll_seconds = POLL_SECONDS
    _beside: Beside

    def _begin(self) -> None:
        """Start without threads and connections: at first, and again in a forked child."""
        self._group = GroupCommit(self._commit, self.timeout, self._beside)

    @abstractmethod
    def _commit(self, batches: Sequence[Batch], until: float) -> None:
        """As a `Commit`."""

    @abstractmethod
    def _transact(self, work: Callable[[W], T], until: float) -> T:
        """Do something in a write transaction, while no other thread does. Raises `LogTimeout`."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raises what a call gets that can't be answered any more."""

    def _change(self, work: Callable[[W], T]) -> T:
        """Do something else than an append in a transaction. Raises `Reentered`."""
        return self._group.run(partial(self._transact, work, self._until_of_change()))

    def _until_of_change(self) -> float:
        return until_of_read(self.timeout)

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        self._check_open()
        check_name("topic", topic)
        units.check(batch, self._folds.get(topic))
        return self._group.append(topic, batch, until)

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        latest = partial(self.latest, topic)
        return self._group.waiters.wait_above(topic, after, latest, timeout, self._poll_seconds)

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        fold = units.fold_of(self._folds, topic)
        self._change(lambda writer: writer.drop_rows(topic))
        self._catch_up(topic, fold, progress)
        return self._number(statements.COUNT_EVENTS, topic)

    def _catch_up(self, topic: str, fold: Fold, progress: Progress | None = None) -> None:
        """Fold the gap, each page a transaction, so that nobody waits for long."""

        def fold_page() -> int:
            return self._change(lambda writer: writer.fold_page(topic, fold))

        units.fold_pages(fold_page, progress)

    def _current(self, topic: str, ask: Callable[[], T | None], ask_within: Callable[[W], T]) -> T:
        """What is asked about rows that are folded up to the head.

        `ask` answers None if they are behind. If they are again and again, `ask_within` does it in
        the transaction that folds them.
        """
        check_name("topic", topic)
        for _ in range(_CURRENT_ATTEMPTS):
            found = ask()
            if found is not None:
                return found
            self._catch_up(topic, units.fold_of(self._folds, topic))

        def fold_and_ask(writer: W) -> T:
            writer.fold_gap(topic, units.fold_of(self._folds, topic))
            return ask_within(writer)

        return self._change(fold_and_ask)

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        values = (*check_names(topic, consumer), check_id(cursor), time.time_ns() // 1_000_000)
        self._change(lambda writer: writer.then(statements.ACK, *values))
