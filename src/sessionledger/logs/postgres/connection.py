"""One connection to a server: what is asked of it, and how it is made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeAlias, TypeVar
from weakref import WeakSet

import msgspec
import psycopg
from psycopg.abc import PQGen
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import wait

from sessionledger.errors import LogTimeout, LogUnavailable
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.concurrency.reentrancy import still_writing
from sessionledger.logs.postgres import queries

T = TypeVar("T")

Statement: TypeAlias = tuple[str, Sequence[Any]]
Lines: TypeAlias = list[tuple[Any, ...]]

_SIGNAL_SECONDS = 0.1
"""How often somebody who waits for the server looks whether a signal came."""

_DEFAULTS = {
    "application_name": "sessionledger",
    "connect_timeout": "10",
    "tcp_user_timeout": "30000",
    # A standby may answer what was true a while ago.
    "target_session_attrs": "read-write",
}
_LAST = ("FATAL", "PANIC")
_ALWAYS = {"client_encoding": "UTF8"}


class Address(msgspec.Struct, frozen=True):
    """Where a ledger is: how to connect, in which schema, and how to call it, without secrets."""

    parameters: dict[str, str]
    schema: str
    location: str
    holds_secret: bool = False

    def __repr__(self) -> str:
        return f"Address({self.location!r})"


class Connection:
    """Statements in a schema, sent together where there are several."""

    def __init__(self, raw: psycopg.Connection[Any], schema: str) -> None:
        self._raw = raw
        self._schema = schema
        self._cursor = raw.cursor(binary=True)

    def ask(self, *statements: Statement) -> list[Lines]:
        """What each statement answers: all of them in one trip, one after the other."""
        try:
            if len(statements) == 1:
                return [_lines(self._execute(self._cursor, statements[0]))]
            with self._raw.pipeline():
                cursors = [self._execute(self._raw.cursor(binary=True), s) for s in statements]
            return [_lines(cursor) for cursor in cursors]
        except BaseException as error:
            if _is_last(error) or not self._is_sound:
                self.close()
            hidden = error.__context__
            is_ours = isinstance(error, psycopg.Error | _GivenUp)
            if is_ours and not isinstance(hidden, Exception | None):
                # An interrupt, behind what came of ending the pipeline.
                raise hidden from None
            raise

    def _execute(self, cursor: psycopg.Cursor[Any], statement: Statement) -> psycopg.Cursor[Any]:
        sql, values = statement
        named = _named(sql, self._schema)
        if not values:
            # Mostly BEGIN and COMMIT, which gain nothing by being prepared.
            return cursor.execute(named, prepare=False)
        return cursor.execute(named, values)

    @property
    def is_lost(self) -> bool:
        """Whether the server can't be reached by it any more."""
        return self._raw.closed

    @property
    def _is_sound(self) -> bool:
        """Whether it can be asked on: it is in the middle of nothing."""
        raw = self._raw.pgconn
        return (
            raw.pipeline_status == PipelineStatus.OFF
            and raw.transaction_status != TransactionStatus.ACTIVE
        )

    @property
    def is_idle(self) -> bool:
        """Whether it can be used for something else."""
        return self._is_sound and self._raw.info.transaction_status is TransactionStatus.IDLE

    def close(self) -> None:
        """Hang up; a transaction that is open has never been."""
        self._raw.close()

    def cut(self) -> None:
        """End it for this process, a forked child. The server does not notice, and the parent goes
        on with it."""
        descriptor = _descriptor(self._raw)
        if descriptor is not None:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, descriptor, inheritable=False)
            os.close(nothing)


class _GivenUp(BaseException):
    """The connection can't be waited for. psycopg would log an `Exception` here."""


class _Raw(psycopg.Connection[Any]):
    """A connection that is given up if a thread that waits for it is interrupted.

    psycopg's own would cancel the statement and wait for its end. That never comes in the middle of
    statements that are sent together. An interrupt could leave its lock locked for ever.
    """

    _is_given_up = False

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.lock = Lock()  # type: ignore[assignment]  # psycopg needs no more than `with`

    def wait(
        self, gen: PQGen[T], interval: float = _SIGNAL_SECONDS, timeout: float | None = None
    ) -> T:
        """What the generator answers."""
        if self._is_given_up:
            raise _GivenUp
        try:
            return wait(gen, self.pgconn.socket, interval, timeout)
        except Exception:
            raise
        except BaseException:
            self._is_given_up = True
            self.close()
            # Closed here, and not by the garbage collector, which would report its error.
            with suppress(psycopg.Error):
                gen.close()
            raise


connections: WeakSet[Connection] = WeakSet()
"""All that are open in this process."""


def connect(address: Address, *, is_relaxed: bool, timeout: float) -> Connection:
    """Connect to a server; is_relaxed: commits are answered before they are flushed; timeout: how
    many seconds a statement waits for the locks of others. Raises what psycopg does."""
    raw = _Raw.connect(
        **_DEFAULTS | address.parameters | _ALWAYS,  # type: ignore[arg-type]  # all are texts
        autocommit=True,
        prepare_threshold=0,
    )
    try:
        raw.execute(queries.SETTINGS, (f"{max(1, round(1000 * timeout))}ms", is_relaxed))
    except BaseException:
        raw.close()
        raise
    connection = Connection(raw, address.schema)
    connections.add(connection)
    return connection


@contextmanager
def translated_errors(address: Address) -> Iterator[None]:
    """Turn what the server or the network says into our errors."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise LogTimeout(still_writing("another connection", address.location)) from error
    except psycopg.Error as error:
        raise LogUnavailable(f"{address.location}: {_reason(error)}") from error


def _reason(error: psycopg.Error) -> str:
    """In a line, without the values that a detail might tell."""
    said = error.diag.message_primary or str(error).strip() or type(error).__name__
    return said.replace("\n", "; ")


def _is_last(error: BaseException) -> bool:
    """Whether no more is heard of the server, which may still have to hang up."""
    return isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized in _LAST


def _descriptor(raw: psycopg.Connection[Any]) -> int | None:
    try:
        return raw.fileno()
    except psycopg.Error:
        return None


def _lines(cursor: psycopg.Cursor[Any]) -> Lines:
    return [] if cursor.description is None else cursor.fetchall()


@cache
def _named(sql: str, schema: str) -> bytes:
    return sql.replace("main.", f'"{schema}".').replace("?", "%s").encode()
