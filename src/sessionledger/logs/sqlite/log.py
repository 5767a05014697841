"""The SQLite log: which connection reads, and what a read makes sure of before it answers.

`transactions` says who writes when, and what is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw

from sessionledger.findings import Finding
from sessionledger.logs.arguments import check_limit
from sessionledger.logs.base import (
    ALL_ROWS,
    Check,
    Description,
    KeyState,
    Row,
    RowFilter,
    key_state_of,
)
from sessionledger.logs.concurrency.forking import untouchable, watch_forks
from sessionledger.logs.concurrency.greenlets import beside_greenlets
from sessionledger.logs.concurrency.group_commit import Batch
from sessionledger.logs.concurrency.lock_file import Lease
from sessionledger.logs.concurrency.reentrancy import Reentered
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS, until_of_read
from sessionledger.logs.sql import statements
from sessionledger.logs.sql.compactable import CompactableDatabase
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import MAINTENANCE, check_location, translated_errors
from sessionledger.logs.sqlite.readers import Execute, Readers
from sessionledger.logs.sqlite.reads import Ask, SQLiteReads
from sessionledger.logs.sqlite.row_cache.cache import RowCache
from sessionledger.logs.sqlite.transactions import Transactions
from sessionledger.logs.sqlite.writer import Writer
from sessionledger.ownership import resolved

T = TypeVar("T")


class SQLiteLog(CompactableDatabase[Writer], SQLiteReads):
    """A ledger in one SQLite file, which any number of threads and processes share.

    durability: "full" (an answer means fsync'd) or "normal" (an answer survives the process, and
    a power loss may take the last moments). timeout: how many seconds a call waits for others.
    vfs: name of a SQLite VFS, None for the default.
    Raises `LogUnavailable`, `NotALedger` or `UnsupportedSchema`.
    """

    _beside = staticmethod(beside_greenlets)

    def __init__(
        self,
        path: str | Path,
        *,
        durability: str = "full",
        timeout: float = TIMEOUT_SECONDS,
        vfs: str | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.durability = durability
        self.timeout = timeout
        self._vfs = vfs
        with translated_errors(self.path):
            self.path = resolved(path)
            check_location(self.path)
        self._begin()
        with translated_errors(self.path):
            self._transactions = Transactions(self.path, durability, vfs, timeout)
        watch_forks(self)

    def _begin(self) -> None:
        super()._begin()
        self._readers = Readers(self._connect_reader)
        self._row_cache = RowCache(self.path, self._readers)
        self._is_quiet = False
        self._maintenance = Lease(self.path.with_name(self.path.name + MAINTENANCE), self.path)

    def before_fork(self, until: float) -> None:
        # SQLite keeps its locks per process, and a child would inherit the belief that it holds
        # them. So nobody holds any while the process forks, and each opens its own afterwards. A
        # signal handler can't have that if its own thread is inside, which goes on after it only.
        if not self._readers.are_interrupted() and self._transactions.hold(until):
            self._is_quiet = self._readers.hold(until)
            if not self._is_quiet:
                self._readers.release()
                self._transactions.release()

    def after_fork_in_parent(self) -> None:
        if self._is_quiet:
            self._is_quiet = False
            self._readers.release()
            self._transactions.release()

    def after_fork_in_child(self) -> None:
        self._maintenance.forget_in_child()
        is_lost = not self._is_quiet
        if is_lost:
            untouchable.append(self._readers)
        self._begin()
        self._transactions.begin_in_child(is_lost=is_lost)

    def _commit(self, batches: Sequence[Batch], until: float) -> None:
        def write(writer: Writer) -> None:
            for batch in batches:
                fold = self._folds.get(batch.topic)
                batch.outcomes = writer.write(batch.topic, batch.units, fold)

        self._transactions.run(write, until)

    def _give_back(self, between: Callable[[], None]) -> None:
        # Step by step. A file from before auto_vacuum keeps its pages, and uses them again.
        pages, before = self._change(Writer.free_pages), -1
        while 0 < pages != before:
            between()
            pages, before = self._change(Writer.give_back), pages

    def vacuum(self) -> None:
        with self.lease():
            self._transactions.vacuum()

    def purge(self) -> tuple[str, ...]:
        self._transactions.purge()
        return ()

    def _lease(self) -> AbstractContextManager[None]:
        with translated_errors(self.path):
            return self._maintenance.take()

    def _transact(self, work: Callable[[Writer], T], until: float) -> T:
        return self._transactions.run(work, until)

    def _check_open(self) -> None:
        self._transactions.check_open()

    # -- reading

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
        sql, values = queries.listing(statements.ROW_COLUMNS, where, after, check_limit(limit))
        found = self._select(queries.if_current(sql), (self._row_cache.number(topic), *values))
        return queries.stored_rows(found) or self._rows(topic, sql, values)

    def _in_current(self, topic: str, ask: Ask[T]) -> T:
        def ask_within(writer: Writer) -> T:
            line = writer.line(topic)
            return ask(writer.connection.execute, line.number, line.mark)

        return self._current(topic, partial(self._if_current, topic, ask), ask_within)

    def _if_current(self, topic: str, ask: Ask[T]) -> T | None:
        def ask_if_current(execute: Execute) -> T | None:
            head = execute(statements.HEAD, (topic,)).fetchall()
            mine = execute(queries.TOPIC, (topic,)).fetchall()
            number, folded, mark = cast(tuple[int, int, int], mine[0]) if mine else (0, 0, 0)
            if (head[0][0] if head else 0) != folded:
                return None
            if mine:
                self._row_cache.know(topic, number)
            return ask(execute, number, mark)

        with self._reading():
            return self._readers.mine().in_snapshot(ask_if_current)

    # -- the whole

    def describe(self) -> Description:
        self._check_open()
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
        self._group.run(self._transactions.flush)

    def close(self) -> None:
        if self._readers.are_interrupted():
            raise Reentered
        self._group.run(partial(self._transactions.close, self._readers.close))
        self._group.waiters.notify()

    # -- connections

    def _connect_reader(self) -> apsw.Connection:
        self._transactions.check_open()
        with translated_errors(self.path):
            return self._row_cache.connect(self._vfs, until_of_read(self.timeout))

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
