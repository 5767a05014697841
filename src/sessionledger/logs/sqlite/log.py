"""The SQLite log: which connection reads, and what a read makes sure of before it answers.

`transactions` says who writes when, and what is durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw

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
    Unit,
    key_state_of,
)
from sessionledger.logs.concurrency.forking import untouchable, watch_forks
from sessionledger.logs.concurrency.reentrancy import Reentered
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import check_location, translated_errors
from sessionledger.logs.sqlite.readers import Execute, Readers
from sessionledger.logs.sqlite.reads import Reads
from sessionledger.logs.sqlite.row_cache.cache import RowCache
from sessionledger.logs.sqlite.transactions import Transactions
from sessionledger.logs.sqlite.writer import Writer, stored_rows
from sessionledger.ownership import resolved

T = TypeVar("T")

_CURRENT_ATTEMPTS = 3


class SQLiteLog(Reads):
    """A ledger in one SQLite file, which any number of threads and processes share.

    durability: "full" (an answer means fsync'd) or "normal" (an answer survives the process, and
    a power loss may take the last moments). vfs: name of a SQLite VFS, None for the default.
    Raises `LogUnavailable`, `NotALedger` or `UnsupportedSchema`.
    """

    def __init__(
        self, path: str | Path, *, durability: str = "full", vfs: str | None = None
    ) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.durability = durability
        self._vfs = vfs
        self._folds: dict[str, Fold] = {}
        with translated_errors(self.path):
            self.path = resolved(path)
            check_location(self.path)
        self._begin()
        with translated_errors(self.path):
            self._transactions = Transactions(self.path, durability, vfs, self._folds)
        watch_forks(self)

    def _begin(self) -> None:
        """Start without threads and connections: at first, and again in a forked child."""
        self._readers = Readers(self._connect_reader)
        self._row_cache = RowCache(self.path, self._readers)
        self._is_quiet = False

    def before_fork(self) -> None:
        # SQLite keeps its locks per process, and a child would inherit the belief that it holds
        # them. So nobody holds any while the process forks, and each opens its own afterwards. A
        # signal handler can't have that if its own thread is inside, which goes on after it only.
        if not self._readers.are_interrupted() and self._transactions.hold():
            self._readers.hold()
            self._is_quiet = True

    def after_fork_in_parent(self) -> None:
        if self._is_quiet:
            self._is_quiet = False
            self._readers.release()
            self._transactions.release()

    def after_fork_in_child(self) -> None:
        is_lost = not self._is_quiet
        if is_lost:
            untouchable.append(self._readers)
        self._begin()
        self._transactions.begin_in_child(is_lost=is_lost)

    # -- appending

    def fold_with(self, topic: str, fold: Fold) -> None:
        self._folds[check_name("topic", topic)] = fold

    def append(self, topic: str, batch: Sequence[Unit]) -> list[Outcome]:
        self._transactions.check_open()
        check_name("topic", topic)
        units.check(batch, self._folds.get(topic))
        return self._transactions.append(topic, batch)

    # -- reading

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return self._transactions.waiters.wait_above(after, lambda: self.latest(topic), timeout)

    def state(self, topic: str, key: bytes) -> KeyState | None:
        try:
            found = self._row_cache.state(topic, key)
        except apsw.Error:
            with self._reading():
                raise
        # None: no such row, or rows that others' events have not been folded into yet.
        return found or key_state_of(self.row(topic, key))

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        sql, values = queries.listing(queries.ROW_COLUMNS, where, after, check_limit(limit))
        found = self._select(queries.if_current(sql), (self._row_cache.number(topic), *values))
        return stored_rows(found or self._of_topic(topic, sql, values))

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        fold = self._fold_of(topic)
        self._transactions.run(lambda writer: writer.drop_rows(topic))
        self._catch_up(topic, fold, progress)
        return self._one(queries.COUNT_EVENTS, (topic,))

    def _catch_up(self, topic: str, fold: Fold, progress: Progress | None = None) -> None:
        """Fold the gap, each page a transaction, so that nobody waits for long."""

        def fold_page() -> int:
            return self._transactions.run(lambda writer: writer.fold_page(topic, fold))

        units.fold_pages(fold_page, progress)

    def _current(self, topic: str, read: Callable[[Execute, int], T]) -> T:
        check_name("topic", topic)
        with self._reading():
            for _ in range(_CURRENT_ATTEMPTS):
                found = self._readers.mine().in_snapshot(partial(self._if_current, topic, read))
                if found is not None:
                    return found[0]
                self._catch_up(topic, self._fold_of(topic))

        def fold_and_read(writer: Writer) -> T:
            writer.fold_gap(topic, self._fold_of(topic))
            number, _, _ = writer.topic_line(topic)
            return read(writer.connection.execute, number)

        return self._transactions.run(fold_and_read)

    def _if_current(
        self, topic: str, read: Callable[[Execute, int], T], execute: Execute
    ) -> tuple[T] | None:
        number = self._number_if_current(execute, topic)
        return None if number is None else (read(execute, number),)

    def _number_if_current(self, execute: Execute, topic: str) -> int | None:
        head = execute(queries.HEAD, (topic,)).fetchall()
        mine = execute(queries.TOPIC, (topic,)).fetchall()
        number, folded = cast(tuple[int, int], mine[0]) if mine else (0, 0)
        if (head[0][0] if head else 0) != folded:
            return None
        if mine:
            self._row_cache.know(topic, number)
        return number

    def _fold_of(self, topic: str) -> Fold:
        return units.fold_of(self._folds, topic)

    # -- consumers

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        names = check_names(topic, consumer)
        given = (*names, cursor, time.time_ns() // 1_000_000)
        self._transactions.run(
            lambda writer: writer.connection.execute(queries.ACK, given).fetchall()
        )

    # -- the whole

    def describe(self) -> Description:
        self._transactions.check_open()
        details: dict[str, str | int | bool] = {
            "sqlite": apsw.sqlite_lib_version(),
            "journal_mode": "wal",
            "schema": queries.SCHEMA_VERSION,
            "bytes": self.path.stat().st_size,
        }
        return Description("sqlite", str(self.path), self.durability, True, details)

    def examine(self, topic: str, check: Check) -> list[Finding]:
        from sessionledger.logs.sqlite.examination import examine  # few ever ask

        self._transactions.check_open()
        return examine(self.path, self._vfs, topic, check)

    def flush(self) -> None:
        self._transactions.flush()

    def close(self) -> None:
        if self._readers.are_interrupted():
            raise Reentered
        self._transactions.close(self._readers.close)

    # -- connections

    def _connect_reader(self) -> apsw.Connection:
        self._transactions.check_open()
        with translated_errors(self.path):
            return self._row_cache.connect(self._vfs)

    def _select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return self._readers.mine().select(sql, values)
        except apsw.Error:
            with self._reading():
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Errors of reading: of a closed ledger, or what SQLite says."""
        with translated_errors(self.path):
            try:
                yield
            except apsw.Error:
                self._transactions.check_open()
                raise
