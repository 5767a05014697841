"""One read connection per thread, and a gate that keeps all of them out of SQLite.

The gate is closed for a fork and for a close. It costs a read two attribute writes: a reader says
that it is inside, and then looks at the gate. A fork closes the gate, and then looks for readers
inside. Whichever comes first, one sees the other.

A reader that is inside refuses a signal handler of its own thread, which can't wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, TypeAlias, TypeVar
from weakref import WeakSet

import apsw

from sessionledger.errors import LogTimeout
from sessionledger.logs.concurrency.greenlets import get_ident, local, sleep
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.concurrency.reentrancy import Reentered, still_writing

T = TypeVar("T")
R = TypeVar("R", bound="Reader")
Execute: TypeAlias = Callable[..., apsw.Cursor]

_LOOK_AGAIN_SECONDS = 0.00005
_PATIENCE_SECONDS = 10.0
_NOBODY = 0


class Gate:
    """Open or closed, for all readers of a log."""

    def __init__(self) -> None:
        self.closed = False
        # A signal handler may read while its own thread adds its reader.
        self.lock = Lock()
        self._closer = _NOBODY

    def close(self) -> None:
        """Let no reader in."""
        self.lock.acquire()
        self._closer = get_ident()
        self.closed = True

    def open(self) -> None:
        """Let all readers in that wait."""
        self.closed = False
        self._closer = _NOBODY
        self.lock.release()

    def wait(self) -> None:
        """Wait until it is open. Raises `Reentered`."""
        if self._closer == get_ident():
            raise Reentered
        if not self.lock.acquire(timeout=_PATIENCE_SECONDS):
            raise LogTimeout(still_writing("another thread"))
        self.lock.release()


class Reader:
    """A thread's read connection, opened at its first statement, and again after a close."""

    def __init__(self, connect: Callable[[], apsw.Connection], gate: Gate) -> None:
        self._connect = connect
        self._gate = gate
        self._connection: apsw.Connection | None = None
        self._thread = get_ident()
        self.inside = False
        self.execute: Execute = self._open_and_execute

    def select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        """All lines of a statement. Raises `Reentered`."""
        if self.inside:
            raise Reentered
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            return self.execute(sql, values).fetchall()
        finally:
            self.inside = False

    def line(self, sql: str, values: tuple[Any, ...]) -> Any:
        """The line of a statement that finds one at most; None for none. Cheaper than a list."""
        if self.inside:
            raise Reentered
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            return self.execute(sql, values).get
        finally:
            self.inside = False

    def is_interrupted(self) -> bool:
        """Whether this thread is inside, and a signal handler of it is asking."""
        return self.inside and self._thread == get_ident()

    def in_snapshot(self, work: Callable[[Execute], T]) -> T:
        """Do the work with statements that all see the same state of the database."""
        if self.inside:
            raise Reentered
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            self.execute("SELECT 1").fetchall()
            execute = self.execute
            # A signal may raise anywhere: until the transaction is over, the next read closes this
            # connection, and the transaction with it, and opens another.
            self.execute = self._open_and_execute
            execute("BEGIN")
            try:
                answer = work(execute)
            finally:
                execute("COMMIT")
            self.execute = execute
            return answer
        finally:
            self.inside = False

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        self.execute = self._open_and_execute
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open_and_execute(self, sql: str, values: tuple[Any, ...] = ()) -> apsw.Cursor:
        self.close()
        self._connection = self._connect()
        self.execute = self._connection.cursor().execute
        return self.execute(sql, values)

    def _wait(self) -> None:
        while self._gate.closed:
            self.inside = False
            self._gate.wait()
            self.inside = True


class _Mine(local):
    reader: Reader | None = None


class Readers:
    """The readers of all threads. That of a thread goes with it, and closes its connection."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self.local = _Mine()
        self._connect = connect
        self._gate = Gate()
        self._all: WeakSet[Reader] = WeakSet()

    def mine(self) -> Reader:
        """The calling thread's reader."""
        return self.local.reader or self._add()

    def add(self, kind: Callable[[Callable[[], apsw.Connection], Gate], R]) -> R:
        """A reader of that kind, which the gate keeps out like all others."""
        reader = kind(self._connect, self._gate)
        with self._gate.lock:
            self._all.add(reader)
        return reader

    def _add(self) -> Reader:
        self.local.reader = reader = self.add(Reader)
        return reader

    def are_interrupted(self) -> bool:
        """Whether this thread is inside one, which can't go on before its signal handler ends."""
        return any(reader.is_interrupted() for reader in list(self._all))

    def hold(self, until: float) -> bool:
        """Close the gate, wait until no thread is inside SQLite, and close every connection. False:
        some threads are still inside at that time, whose connections stay open."""
        self._gate.close()
        for reader in list(self._all):
            while reader.inside and monotonic() < until:
                sleep(_LOOK_AGAIN_SECONDS)
            if not reader.inside:
                reader.close()
        return not any(reader.inside for reader in list(self._all))

    def release(self) -> None:
        """Open the gate; each reader opens another connection."""
        self._gate.open()

    def close(self, until: float) -> None:
        """Close every connection; a thread that reads just now is waited for until then."""
        self.hold(until)
        self.release()
