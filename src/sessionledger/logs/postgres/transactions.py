"""Write transactions, which either happened or did not, also where the answer was lost.

A transaction that ended with its connection before its commit was sent was never there, and is done
again. Where the commit was on its way, the server is asked what became of it: never guessed.

A server shows a commit that no standby has, if it ended the wait for a standby or crashed in it.
A failover would lose that commit. So each answer waits for a commit of its own. That holds for
the proof of an earlier commit, and where there was nothing to write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import psycopg

from sessionledger.errors import LogTimeout, LogUnavailable
from sessionledger.logs import chain
from sessionledger.logs.base import StoredEvent
from sessionledger.logs.concurrency.reentrancy import Mutex
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Connection, Lines, Statement
from sessionledger.logs.postgres.pool import Pool

T = TypeVar("T")

ATTEMPTS = 2
"""How many new connections may be lost. Those that were pooled may be so for long."""
_PAUSE_SECONDS = 0.1
_UNKNOWN = (
    "an append was committed without an answer, and the server does not say whether it was written "
    "for good: read it back"
)


class Proof(NamedTuple):
    """What tells whether a transaction was committed: its number, and one of its events."""

    xid: str
    topic: str
    event: StoredEvent


class Transaction:
    """What is read under a lock, and what is to be written, which is sent with the commit."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.proof: Proof | None = None
        self.is_committing = False
        self._is_begun = False
        self._later: list[Statement] = []

    def ask(self, *statements: Statement) -> list[Lines]:
        """What the statements answer, each seeing what was committed before it began."""
        before, self._later = self._later, []
        if not self._is_begun:
            before.insert(0, (queries.BEGIN_WRITING, ()))
        self._is_begun = True
        return self.connection.ask(*before, *statements)[len(before) :]

    def then(self, sql: str, *values: Any) -> None:
        """Send this with the commit, or before what is asked until then."""
        self._later.append((sql, values))

    def commit(self) -> None:
        """Write what there is to be written, and wait for what was read."""
        if not self._is_begun:
            self.ask()
        self.is_committing = True
        self.connection.commit(*self._later, ("COMMIT", ()))

    def roll_back(self) -> None:
        """It has never been."""
        if self._is_begun and not self.connection.is_lost:
            self.connection.ask(("ROLLBACK", ()))


class Transactions:
    """The write transactions of a log: one at a time, of all its threads."""

    def __init__(self, connections: Pool) -> None:
        self._pool = connections
        self._mutex = Mutex()

    def run(self, work: Callable[[Transaction], T], until: float) -> T:
        """Do something in a transaction, once. It may be called twice, and then is as if it had
        been only the second time. Raises what it does, what psycopg does, and `LogUnavailable`
        where it can't be told what became of it. Other threads and the server are waited for until
        `time.monotonic` says so."""
        return self._mutex.run(partial(self._run, work, until), until)

    def call(self, statement: Statement, until: float) -> tuple[Lines, bool]:
        """What a statement answers that is a transaction of its own. True beside it: it may have
        happened before, and its answer was lost. Raises as `run`."""
        return self._mutex.run(partial(self._call, statement, until), until)

    def _call(self, statement: Statement, until: float) -> tuple[Lines, bool]:
        lost, attempts = False, ATTEMPTS
        while True:
            connection: Connection | None = None
            try:
                with self._pool.lent(until) as connection:
                    return connection.call(statement), lost
            except (psycopg.Error, LogTimeout) as error:
                if connection is not None and connection.is_lost:
                    self._pool.forget()
                    lost = True
                    attempts -= connection.is_fresh
                elif not lost:
                    raise
                if time.monotonic() >= until or not attempts:
                    raise LogUnavailable(_UNKNOWN) from error
                if connection is None or connection.is_fresh:
                    time.sleep(_PAUSE_SECONDS)

    def _run(self, work: Callable[[Transaction], T], until: float) -> T:
        attempts = ATTEMPTS
        while True:
            transaction: Transaction | None = None
            answers: list[T] = []
            try:
                with self._pool.lent(until) as connection:
                    transaction = Transaction(connection)
                    _carry_out(transaction, work, answers)
                return answers[0]
            except psycopg.Error:
                if transaction is None or not transaction.connection.is_lost:
                    raise
                self._pool.forget()
                if transaction.is_committing and self._was_written(transaction, until):
                    return answers[0]
                attempts -= transaction.connection.is_fresh
                if not attempts or time.monotonic() >= until:
                    raise

    def _was_written(self, transaction: Transaction, until: float) -> bool:
        """What became of a commit whose answer was lost. What can't prove it is done again."""
        if transaction.proof is None:
            return False
        while time.monotonic() < until:
            found = self._fate(transaction.proof, until)
            if found is not None:
                return found
            time.sleep(_PAUSE_SECONDS)
        raise LogUnavailable(_UNKNOWN)

    def _fate(self, proof: Proof, until: float) -> bool | None:
        """Whether a transaction was committed; None while that can't be told."""
        try:
            with self._pool.lent(until) as connection:
                return _fate(proof, connection)
        except (psycopg.Error, LogTimeout):
            return None


def _carry_out(
    transaction: Transaction, work: Callable[[Transaction], T], answers: list[T]
) -> None:
    try:
        answers.append(work(transaction))
        transaction.commit()
    except psycopg.Error:
        transaction.roll_back()
        raise


def _fate(proof: Proof, connection: Connection) -> bool | None:
    if _is_under_way(connection, proof.xid):
        return None
    # Whoever took over from a server that was lost may have given the number to another
    # transaction: it is the event that tells.
    headers = (queries.HEADERS, (proof.topic, proof.event.id))
    _, found, *_ = connection.commit(
        (queries.BEGIN_WRITING, ()), headers, (queries.HEARTBEAT, ()), ("COMMIT", ())
    )
    written = chain.decode_headers(found[0][0]) if found else {}
    return written.get(chain.HASH_HEADER) == proof.event.headers[chain.HASH_HEADER]


def _is_under_way(connection: Connection, xid: str) -> bool:
    try:
        (((status,),),) = connection.ask((queries.FATE, (xid,)))
    except psycopg.errors.InvalidParameterValue:
        # It is in the future again: the server crashed before anything of it was on its disk.
        if not connection.is_idle:
            connection.ask(("ROLLBACK", ()))
        return False
    return bool(status == "in progress")
