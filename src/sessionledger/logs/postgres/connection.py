"""One connection to a server: what is asked of it, and how long its answers are waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic
from typing import Any, TypeAlias, TypeVar

import msgspec
import psycopg
from psycopg.abc import PQGen
from psycopg.errors import Diagnostic
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import wait

from sessionledger.errors import LogTimeout, LogUnavailable
from sessionledger.logs.compaction.contract import refuse_moved
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.concurrency.reentrancy import still_writing
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.prepared import PreparedStatements, are_plain

T = TypeVar("T")

Statement: TypeAlias = tuple[str, Sequence[Any]]
Lines: TypeAlias = list[tuple[Any, ...]]

POOL_SIZE = 5
HOUR_SECONDS = 3600.0
"""How long the server has for what changes every row."""

_SIGNAL_SECONDS = 0.1
"""How often somebody who waits for the server looks whether a signal came."""

_LAST = ("FATAL", "PANIC")
_COMMIT: Statement = ("COMMIT", ())


class Address(msgspec.Struct, frozen=True):
    """Where a ledger is: how to connect, in which schema, and how to call it, without secrets."""

    parameters: dict[str, str]
    schema: str
    location: str
    holds_secret: bool = False
    pool_size: int = POOL_SIZE

    def __repr__(self) -> str:
        return f"Address({self.location!r})"


class Connection:
    """Statements in a schema, sent together where there are several.

    timeout: how many seconds the server has for a statement and all that wait for it. until: when
    its answers are waited for no longer. settings: what each transaction begins with, behind a
    pooler that gives the server's session to others meanwhile.
    """

    def __init__(
        self, raw: RawConnection, schema: str, timeout: float, settings: Statement | None
    ) -> None:
        self._raw = raw
        self._schema = schema
        self._cursor = raw.cursor(binary=True)
        self._prepared = PreparedStatements(raw, raw.wait)
        self._timeout = timeout
        self._settings = settings
        self.is_fresh = True
        """Whether it was just made, and not kept by a pool since."""

    def wait_until(self, until: float) -> None:
        """Wait no longer than that for what is asked from here on."""
        self._raw.until = until

    def renew(self, seconds: float | None = None) -> None:
        """Wait for so long from now on, or as long as for a first statement."""
        self._raw.until = max(self._raw.until, monotonic() + (seconds or self._timeout))

    def ask(self, *statements: Statement) -> list[Lines]:
        """What each statement answers: all of them in one trip, one after the other."""
        if self._settings is None or not self.is_idle:
            return self._ask(*statements)
        if statements[0][0].startswith("BEGIN"):
            begun, _, *answers = self._ask(statements[0], self._settings, *statements[1:])
            return [begun, *answers]
        begin = (queries.BEGIN_READING, ())
        return self._ask(begin, self._settings, *statements, _COMMIT)[2:-1]

    def call(self, statement: Statement) -> Lines:
        """What one statement answers that is a transaction of its own, and may write."""
        if self._settings is None:
            return self.commit(statement)[0]
        return self.commit((queries.BEGIN_WRITING, ()), statement, _COMMIT)[1]

    def commit(self, *statements: Statement) -> list[Lines]:
        """What statements answer of which the last one commits. Raises `DoubtfulCommit`."""
        self._raw.warned = False
        answers = self.ask(*statements)
        if self._raw.warned:
            self.close()
            raise DoubtfulCommit
        return answers

    def _ask(self, *statements: Statement) -> list[Lines]:
        try:
            if len(statements) == 1:
                return [self._ask_alone(*statements[0])]
            with self._raw.pipeline():
                cursors = [self._execute(self._raw.cursor(binary=True), s) for s in statements]
            return [_lines(cursor) for cursor in cursors]
        except BaseException as error:
            if _is_last(error) or not self._is_sound:
                self.close()
            # Behind what came of ending the pipeline: an interrupt, or that no answer came.
            hidden = self._raw.given_up_for or error.__context__
            self._raw.given_up_for = None
            is_ours = isinstance(error, psycopg.Error | _GivenUp)
            if is_ours and isinstance(hidden, NoAnswer):
                raise hidden from None
            if is_ours and not isinstance(hidden, Exception | None):
                raise hidden from None
            raise

    def _ask_alone(self, sql: str, values: Sequence[Any]) -> Lines:
        is_alone = self._settings is None and self.is_idle
        if values and is_alone and are_plain(values):
            return self._prepared.fetch(_named(sql, self._schema), values)
        return _lines(self._execute(self._cursor, (sql, values)))

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
        raw = self._raw.pgconn
        return (
            raw.transaction_status == TransactionStatus.IDLE
            and raw.pipeline_status == PipelineStatus.OFF
        )

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


class NoAnswer(psycopg.OperationalError):
    """The server said nothing for too long. What it still does can't be known."""

    def __init__(self, what: str = "has more to do than the ledger's timeout allows") -> None:
        super().__init__(
            f"the server gave no answer in time: it stands still, cannot be reached, or {what}"
        )


class DoubtfulCommit(psycopg.OperationalError):
    """The server committed, and did not wait for the standby that it is to wait for."""

    def __init__(self) -> None:
        super().__init__("the server warned while it committed: a standby may lack what it wrote")


class RawConnection(psycopg.Connection[Any]):
    """A connection that is given up if a thread that waits for it is interrupted, or for too long.

    psycopg's own would cancel the statement and wait for its end. That never comes in the middle of
    statements that are sent together. An interrupt could leave its lock locked for ever.
    """

    until = 0.0
    """When answers are waited for no longer, by `time.monotonic`."""
    given_up_for: BaseException | None = None
    warned = False
    """Whether the server warned of something, since this was last set."""
    _is_given_up = False

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.lock = Lock()  # type: ignore[assignment]  # psycopg needs no more than `with`
        self.add_notice_handler(self._notice)

    def _notice(self, told: Diagnostic) -> None:
        self.warned |= told.severity_nonlocalized == "WARNING"

    def wait(
        self, gen: PQGen[T], interval: float = _SIGNAL_SECONDS, timeout: float | None = None
    ) -> T:
        """What the generator answers."""
        if self._is_given_up:
            raise _GivenUp
        try:
            left = max(0.0, self.until - monotonic())
            return wait(gen, self.pgconn.socket, interval, left if timeout is None else timeout)
        except psycopg.OperationalError:
            if monotonic() < self.until:
                raise
            late = NoAnswer()
            self._give_up(gen, late)
            raise late from None
        except Exception:
            raise
        except BaseException as interrupt:
            self._give_up(gen, interrupt)
            raise

    def _give_up(self, gen: PQGen[Any], reason: BaseException) -> None:
        self._is_given_up = True
        self.given_up_for = reason
        self.close()
        # Closed here, and not by the garbage collector, which would report its error.
        with suppress(psycopg.Error):
            gen.close()


@contextmanager
def translated_errors(address: Address) -> Iterator[None]:
    """Turn what the server or the network says into our errors."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise LogTimeout(still_writing("another connection", address.location)) from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise LogUnavailable(
            f"{address.location} is read-only, and nothing was written: see whether its disk is "
            "full, and what sets default_transaction_read_only"
        ) from error
    except psycopg.Error as error:
        refuse_moved(_reason(error))
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
    # Not `description`, which psycopg makes of every column, each time.
    return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []


@cache
def _named(sql: str, schema: str) -> bytes:
    return sql.replace("main.", f'"{schema}".').replace("?", "%s").encode()
