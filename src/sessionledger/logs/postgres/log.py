"""The PostgreSQL log: a ledger in a schema of a database, which any number of machines share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import psycopg

from sessionledger.errors import MaintenanceRunning, StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs.arguments import check_name, check_page
from sessionledger.logs.base import (
    Check,
    Description,
    Fold,
    KeyState,
    Outcome,
    Put,
    StoredEvent,
    Unit,
    key_state_of,
)
from sessionledger.logs.concurrency.forking import Forkable, watch_forks
from sessionledger.logs.concurrency.greenlets import in_own_greenlet
from sessionledger.logs.concurrency.group_commit import Batch, each_alone
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS, until_of_call
from sessionledger.logs.gap_fold import RowsBehind
from sessionledger.logs.postgres import listings, queries
from sessionledger.logs.postgres.append.call import AppendCall, ruled_call
from sessionledger.logs.postgres.connection import Connection, Lines, Statement, translated_errors
from sessionledger.logs.postgres.examination import ELSEWHERE, NOTE, NOTE_END, examine, remains
from sessionledger.logs.postgres.handshake import connect, settled
from sessionledger.logs.postgres.opening import address_of, check_is_there, pool_size_of, prepare
from sessionledger.logs.postgres.pool import Pool
from sessionledger.logs.postgres.transactions import Transactions
from sessionledger.logs.postgres.writer import Writer
from sessionledger.logs.sql.compactable import CompactableDatabase

T = TypeVar("T")


class PostgresLog(CompactableDatabase[Writer], Forkable):
    """A ledger in a PostgreSQL database, for any number of threads, processes and machines.

    durability: "full" (the server has flushed what it acknowledges) or "normal" (a crash of the
    server may lose the last moments). timeout: how many seconds a call waits for others, and for
    the server. pool_size: how many connections it has at most, in place of what the address says.
    Raises `InvalidURL`, `InvalidPolicy`, `LogUnavailable`, `NotALedger` or `UnsupportedSchema`.
    """

    _queries = queries
    _cut_queries = queries
    _links = (queries.LINKS_AFTER, queries.REMOVE_LINKS)
    _poll_seconds = 0.05
    _beside = staticmethod(in_own_greenlet)

    def __init__(
        self,
        url: str,
        *,
        durability: str = "full",
        timeout: float = TIMEOUT_SECONDS,
        pool_size: int | None = None,
    ) -> None:
        super().__init__()
        self.address = address_of(url)
        size = self.address.pool_size if pool_size is None else pool_size_of(str(pool_size))
        self.durability = durability
        self.timeout = timeout
        self._closed = False
        self._has_functions = False
        told = settled(self.address, timeout)
        self._connecting = partial(connect, told, durability == "normal", timeout)
        self._pool = Pool(self._connecting, size, self._check_open)
        self._begin()
        try:
            with self._connection() as connection:
                self._prepare(connection)
        except BaseException:
            self._pool.close()
            raise
        watch_forks(self)

    def _prepare(self, connection: Connection) -> None:
        self._has_functions = prepare(connection, self.address, self.durability)

    def _begin(self) -> None:
        super()._begin()
        self._transactions = Transactions(self._pool)

    def after_fork_in_child(self) -> None:
        # Before it there is nothing to do: the server keeps what parent and child have to share.
        self._pool.begin_in_child()
        self._begin()

    def _commit(self, batches: Sequence[Batch], until: float) -> None:
        each_alone(self._write)(batches, until)

    def _write(self, topic: str, batch: Sequence[Unit], until: float) -> list[Outcome]:
        fold = self._folds.get(topic)
        plan = partial(self._transact, lambda writer: writer.write(topic, batch, fold), until)
        call = self._call_for(topic, batch, fold, until) if self._has_functions else None
        if call is None:
            return plan()
        outcomes, was_lost = self._call(call, until)
        if outcomes is None:
            outcomes = plan()
        if was_lost:
            outcomes = call.recognized(outcomes, partial(self._event_after, topic))
        return plan() if call.has_moved(outcomes) else outcomes

    def _call_for(
        self, topic: str, batch: Sequence[Unit], fold: Fold | None, until: float
    ) -> AppendCall | None:
        """The call that appends the units; None where this process has to plan them."""
        rule = batch[0].rule if len(batch) == 1 else None
        if fold is None or rule is None:
            return AppendCall.of(topic, batch, fold)
        self._check_open()

        def select(sql: str, values: Sequence[Any]) -> Lines:
            return self._pool.read(lambda connection: connection.ask((sql, values))[0], until)

        with translated_errors(self.address):
            return ruled_call(topic, batch[0], rule, fold, select)

    def _call(self, call: AppendCall, until: float) -> tuple[list[Outcome] | None, bool]:
        """What the server made of the units, None where it leaves them to this process; and whether
        it may have been asked before."""
        self._check_open()
        with translated_errors(self.address):
            try:
                lines, was_lost = self._transactions.call(call.statement, until)
            except psycopg.errors.UndefinedFunction:
                self._has_functions = False
                return None, False
            return call.outcomes(lines), was_lost

    def _event_after(self, topic: str, put: Put) -> StoredEvent | None:
        """The event of a key that followed the one that was expected."""
        values = (topic, topic, put.key, put.expected, 1)
        return next(iter(queries.stored_events(self._select(queries.EVENTS_OF_KEY, values))), None)

    def _until_of_change(self) -> float:
        # Its calls wait in threads, never in an event loop.
        return until_of_call(self.timeout)

    def _transact(self, work: Callable[[Writer], T], until: float) -> T:
        self._check_open()
        with translated_errors(self.address):
            return self._transactions.run(lambda transaction: work(Writer(transaction)), until)

    @contextmanager
    def _lease(self) -> Iterator[None]:
        # Until the transaction ends, which has neither a snapshot nor a number: nothing waits for
        # it. A lock of a session could be left to others by a pooler.
        begin, unhurried = (queries.BEGIN_WRITING, ()), (queries.UNHURRIED, ())
        with self._connection() as connection:
            lease = (queries.TRY_TO_LEASE, (self.address.schema,))
            _, _, ((is_mine,),) = connection.ask(begin, unhurried, lease)
            try:
                if not is_mine:
                    raise MaintenanceRunning(
                        "another process maintains the ledger: try again later"
                    )
                self._change(lambda writer: writer.then(NOTE_END))
                yield
            finally:
                # The server notices a closed connection some moments later.
                connection.renew()
                with suppress(psycopg.Error):
                    connection.ask(("COMMIT", ()))

    # -- reading

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        after, limit = check_page(after, limit)
        values = (topic, key, after, limit)
        found = queries.stored_events(self._of_topic(topic, queries.EVENTS_OF_KEY, values))
        self.refuse_removed(topic, key, after)
        return found

    def state(self, topic: str, key: bytes) -> KeyState | None:
        found = self._select(queries.STATE, (key, check_name("topic", topic)))
        if not found:
            return None
        is_current, version, end, state, _ = found[0]
        if not is_current:
            return key_state_of(self.row(topic, key))
        return None if version is None else (version, end, state)

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        states: dict[bytes, KeyState | None] = dict.fromkeys(keys)
        found = self._select(queries.STATES, (list(keys), check_name("topic", topic)))
        states |= {key: (v, end, state) for _, v, end, state, key in found if key is not None}
        if any(not is_current for is_current, *_ in found):
            rows = self._rows(topic, queries.ROWS_OF_KEYS, (list(keys),))
            states = dict.fromkeys(keys) | {row.key: key_state_of(row) for row in rows}
        return states

    def kept(self, topic: str, key: bytes) -> KeyState | None:  # noqa: ARG002  no row is kept
        return None

    def _with_mark(self, topic: str, sql: str, values: Sequence[Any]) -> tuple[Lines, int]:
        asked: Statement = (sql, (topic, *values))
        return self._current(
            topic,
            partial(self._if_current, topic, asked),
            lambda writer: writer.ask(topic, asked),
        )

    def _if_current(self, topic: str, asked: Statement) -> tuple[Lines, int] | None:
        """What is answered where the rows are folded up to the head, and the mark in force."""
        sql, values = asked
        lines = self._select(listings.with_line(sql), (topic, *values))
        folded, head, mark = lines[0][:3]
        found = [line[3:] for line in lines if line[3] is not None]
        return (found, mark or 0) if folded == head else None

    # -- documents

    def document(self, name: str) -> bytes:
        found = self._select(queries.DOCUMENT, (check_name("document", name),))
        return found[0][0] if found else b""

    def replace_document(self, name: str, before: bytes, after: bytes) -> bool:
        values = (check_name("document", name), after, before, name, before)
        return self._change(lambda w: bool(w.select(queries.REPLACE_DOCUMENT, *values)))

    # -- the whole

    def purge(self) -> tuple[str, ...]:
        self._change(lambda writer: writer.then(NOTE))
        with self._connection() as connection:
            return (*remains(connection), *ELSEWHERE)

    def describe(self) -> Description:
        ((version, size),) = self._select(queries.DESCRIBE, (self.address.schema,))
        details: dict[str, str | int | bool] = {
            "postgresql": version,
            "tables_in": self.address.schema,
            "schema": queries.SCHEMA_VERSION,
            "bytes": size,
        }
        with self._connection() as connection:
            details["erased_remains"] = ", ".join(remains(connection))
        return Description("postgresql", self.address.location, self.durability, True, details)

    def examine(self, topic: str, check: Check) -> list[Finding]:
        check_name("topic", topic)
        with self._connection() as connection:
            return examine(connection, topic, check)

    def flush(self) -> None:
        # What was committed without being flushed stands before this, and is flushed with it.
        def write(writer: Writer) -> None:
            writer.transaction.ask((queries.FLUSHED, ()))
            writer.then(queries.TOUCH_META)

        self._change(write)

    def close(self) -> None:
        if not self._closed:
            self._group.run(self._close)
            self._group.waiters.notify()

    def _close(self) -> None:
        self._closed = True
        self._pool.close()

    # -- connections

    def _select(self, sql: str, values: Sequence[Any]) -> Lines:
        return self._read(lambda connection: connection.ask((sql, values))[0])

    def _read(self, work: Callable[[Connection], T]) -> T:
        with translated_errors(self.address):
            return self._pool.read(work, until_of_call(self.timeout))

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        until = until_of_call(self.timeout)
        with translated_errors(self.address), self._pool.lent(until) as connection:
            yield connection

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.address.location} is closed")


class ReadOnlyPostgresLog(PostgresLog):
    """A ledger of which nothing is changed. Raises `NoLedger`, and `RowsBehind` for a gap."""

    def _prepare(self, connection: Connection) -> None:
        check_is_there(connection, self.address)

    def _transact(self, work: Callable[[Writer], T], until: float) -> T:  # noqa: ARG002  never done
        self._check_open()
        raise RowsBehind(f"{self.address.location} is only shown, and can't be changed here")
