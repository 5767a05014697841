"""The PostgreSQL log: a ledger in a schema of a database, which any number of machines share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from sessionledger.errors import StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs import units
from sessionledger.logs.arguments import check_limit, check_name, check_names
from sessionledger.logs.base import (
    ALL_ROWS,
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
    key_state_of,
)
from sessionledger.logs.concurrency.forking import watch_forks
from sessionledger.logs.concurrency.group_commit import GroupCommit, each_alone
from sessionledger.logs.postgres import queries, writer
from sessionledger.logs.postgres.connection import Connection, Lines, Statement, translated_errors
from sessionledger.logs.postgres.opening import address_of, prepare
from sessionledger.logs.postgres.pool import Pool
from sessionledger.logs.postgres.transactions import Transaction, Transactions
from sessionledger.logs.postgres.writer import stored_events, stored_rows

T = TypeVar("T")

POLL_SECONDS = 0.05
"""How often other processes' appends are looked for while somebody waits for them."""
_CURRENT_ATTEMPTS = 3


class PostgresLog:
    """A ledger in a PostgreSQL database, for any number of threads, processes and machines.

    durability: "full" (the server has flushed what it acknowledges) or "normal" (a crash of the
    server may lose the last moments). Raises `InvalidURL`, `LogUnavailable`, `NotALedger` or
    `UnsupportedSchema`.
    """

    def __init__(self, url: str, *, durability: str = "full") -> None:
        self.address = address_of(url)
        self.durability = durability
        self._folds: dict[str, Fold] = {}
        self._closed = False
        self._pool = Pool(self.address, durability, self._check_open)
        self._begin()
        with translated_errors(self.address):
            connection = self._pool.new()
            try:
                prepare(connection, self.address, durability)
            except BaseException:
                connection.close()
                raise
            self._pool.give(connection)
        watch_forks(self)

    def _begin(self) -> None:
        """Start without threads and locks: at first, and again in a forked child."""
        self._transactions = Transactions(self._pool)
        self._group = GroupCommit(each_alone(self._write))

    def before_fork(self) -> None:
        """Nothing: the server keeps what parent and child have to share."""

    def after_fork_in_parent(self) -> None:
        """Nothing: the child does not touch what is the parent's."""

    def after_fork_in_child(self) -> None:
        self._pool.begin_in_child()
        self._begin()

    # -- appending

    def fold_with(self, topic: str, fold: Fold) -> None:
        self._folds[check_name("topic", topic)] = fold

    def append(self, topic: str, batch: Sequence[Unit]) -> list[Outcome]:
        self._check_open()
        check_name("topic", topic)
        units.check(batch, self._folds.get(topic))
        return self._group.append(topic, batch)

    def _write(self, topic: str, batch: Sequence[Unit]) -> list[Outcome]:
        fold = self._folds.get(topic)
        return self._transact(lambda one: writer.write(one, topic, batch, fold))

    def _change(self, work: Callable[[Transaction], T]) -> T:
        """Do something in a write transaction. Raises `Reentered`."""
        return self._group.run(partial(self._transact, work))

    def _transact(self, work: Callable[[Transaction], T]) -> T:
        self._check_open()
        with translated_errors(self.address):
            return self._transactions.run(work)

    # -- events

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        check_name("topic", topic)
        return stored_events(self._ask(queries.EVENTS_AFTER, topic, after, check_limit(limit)))

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        given = (topic, topic, key, after, check_limit(limit))
        return stored_events(self._current(topic, queries.EVENTS_OF_KEY, *given))

    def latest(self, topic: str) -> int:
        return _number(self._ask(queries.HEAD, check_name("topic", topic)))

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return self._group.waiters.wait_above(
            after, lambda: self.latest(topic), timeout, POLL_SECONDS
        )

    # -- rows

    def row(self, topic: str, key: bytes) -> Row | None:
        found = stored_rows(self._current(topic, queries.ROWS_OF_KEYS, topic, [key]))
        return found[0] if found else None

    def state(self, topic: str, key: bytes) -> KeyState | None:
        found = self._ask(queries.STATE_IF_CURRENT, check_name("topic", topic), key)
        if found:
            return cast(KeyState, found[0])
        # No such row, or rows that others' events have not been folded into yet.
        return key_state_of(self.row(topic, key))

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        found = self._ask(queries.STATES_IF_CURRENT, check_name("topic", topic), list(keys))
        states: dict[bytes, KeyState | None] = {
            key: (v, end, state) for key, v, end, state in found
        }
        missing = [key for key in keys if key not in states]
        if missing:
            rows = stored_rows(self._current(topic, queries.ROWS_OF_KEYS, topic, missing))
            states |= dict.fromkeys(missing) | {row.key: key_state_of(row) for row in rows}
        return states

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        sql, values = queries.listing(queries.ROW_COLUMNS, where, after, check_limit(limit))
        return stored_rows(self._current(topic, sql, topic, *values))

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        sql, values = queries.listing("count(*)", where)
        return _number(self._current(topic, sql, topic, *values))

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        fold = self._fold_of(topic)
        self._change(lambda one: writer.drop_rows(one, topic))
        self._catch_up(topic, fold, progress)
        return _number(self._ask(queries.COUNT_EVENTS, topic))

    def _catch_up(self, topic: str, fold: Fold, progress: Progress | None = None) -> None:
        """Fold the gap, each page a transaction, so that nobody waits for long."""

        def fold_page() -> int:
            return self._change(lambda one: writer.fold_page(one, topic, fold))

        units.fold_pages(fold_page, progress)

    def _current(self, topic: str, sql: str, *values: Any) -> Lines:
        """Ask in a snapshot in which the rows of the topic are folded up to its head."""
        check_name("topic", topic)
        for _ in range(_CURRENT_ATTEMPTS):
            found = self._if_current(topic, sql, values)
            if found is not None:
                return found
            self._catch_up(topic, self._fold_of(topic))

        def fold_and_ask(one: Transaction) -> Lines:
            writer.fold_gap(one, topic, self._fold_of(topic))
            return one.ask((sql, values))[0]

        return self._change(fold_and_ask)

    def _if_current(self, topic: str, sql: str, values: Sequence[Any]) -> Lines | None:
        begin: Statement = (queries.BEGIN_READING, ())
        asked: tuple[Statement, ...] = ((queries.TOPIC, (topic,)), (sql, values))
        _, lines, found, _ = self._read(lambda one: one.ask(begin, *asked, ("COMMIT", ())))
        if lines and lines[0][1] != lines[0][2]:
            return None
        return found

    def _fold_of(self, topic: str) -> Fold:
        return units.fold_of(self._folds, topic)

    # -- consumers

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        names = check_names(topic, consumer)
        given = (*names, cursor, time.time_ns() // 1_000_000)
        self._change(lambda one: one.then(queries.ACK, *given))

    def cursor(self, topic: str, consumer: str) -> int:
        names = check_names(topic, consumer)
        return _number(self._ask(queries.CURSOR, *names))

    # -- the whole

    def topics(self) -> list[str]:
        return [topic for (topic,) in self._ask(queries.TOPICS)]

    def describe(self) -> Description:
        ((version, size),) = self._ask(queries.DESCRIBE, self.address.schema)
        details: dict[str, str | int | bool] = {
            "postgresql": version,
            "tables_in": self.address.schema,
            "schema": queries.SCHEMA_VERSION,
            "bytes": size,
        }
        return Description("postgresql", self.address.location, self.durability, True, details)

    def examine(self, topic: str, check: Check) -> list[Finding]:
        from sessionledger.logs.postgres.examination import examine  # few ever ask

        check_name("topic", topic)
        with translated_errors(self.address):
            connection = self._pool.new()
            try:
                return examine(connection, topic, check)
            finally:
                connection.close()

    def flush(self) -> None:
        # What was committed without being flushed stands before this, and is flushed with it.
        def write(transaction: Transaction) -> None:
            transaction.ask((queries.FLUSHED, ()))
            transaction.then(queries.TOUCH_META)

        self._change(write)

    def close(self) -> None:
        if not self._closed:
            self._group.run(self._close)
            self._group.waiters.notify()

    def _close(self) -> None:
        self._closed = True
        self._pool.close()

    # -- connections

    def _ask(self, sql: str, *values: Any) -> Lines:
        return self._read(lambda connection: connection.ask((sql, values))[0])

    def _read(self, work: Callable[[Connection], T]) -> T:
        with translated_errors(self.address):
            return self._pool.read(work)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.address.location} is closed")


def _number(found: Lines) -> int:
    return cast(int, found[0][0]) if found else 0
