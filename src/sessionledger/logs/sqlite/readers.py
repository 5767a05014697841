"""One read connection per thread, and a gate that keeps all of them out of SQLite.

The gate is closed for a fork and for a close. It costs a read two attribute writes: a reader says
that it is inside and then looks at the gate; who closes the gate does so and then looks for readers
inside. Whichever comes first, one sees the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar
from weakref import WeakSet

import apsw

R = TypeVar("R", bound="Reader")

_LOOK_AGAIN_SECONDS = 0.00005


class Gate:
    """Open or closed, for all readers of a log."""

    def __init__(self) -> None:
        self.closed = False
        self.opened = threading.Event()


class Reader:
    """A thread's read connection, opened at its first statement, and again after a close."""

    def __init__(self, connect: Callable[[], apsw.Connection], gate: Gate) -> None:
        self._connect = connect
        self._gate = gate
        self._connection: apsw.Connection | None = None
        self._thread = threading.get_ident()
        self.inside = False
        self.execute: Callable[..., apsw.Cursor] = self._open_and_execute

    def select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        """All lines of a statement, which is thereby over."""
        if self.inside:
            with self._aside() as execute:
                return execute(sql, values).fetchall()
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
            with self._aside() as execute:
                return execute(sql, values).get
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            return self.execute(sql, values).get
        finally:
            self.inside = False

    def is_interrupted(self) -> bool:
        """Whether this thread is inside: then a signal handler is asking."""
        return self.inside and self._thread == threading.get_ident()

    @contextmanager
    def snapshot(self) -> Iterator[Callable[..., apsw.Cursor]]:
        """How to execute statements that all see the same state of the database."""
        if self.inside:
            with self._aside() as execute:
                execute("BEGIN")
                yield execute
                return
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            self.execute("SELECT 1").fetchall()
            execute = self.execute
            # A signal may raise anywhere: until the transaction is over, whoever comes next
            # closes this connection, and the transaction with it, and opens another.
            self.execute = self._open_and_execute
            execute("BEGIN")
            try:
                yield execute
            finally:
                execute("COMMIT")
            self.execute = execute
        finally:
            self.inside = False

    @contextmanager
    def _aside(self) -> Iterator[Callable[..., apsw.Cursor]]:
        """For a signal handler that reads while its own thread does: a connection for it alone.

        It does not look at the gate: who closes that waits for the read that was interrupted.
        """
        with closing(self._connect()) as connection:
            yield connection.cursor().execute

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
            self._gate.opened.wait()
            self.inside = True


class _Mine(threading.local):
    reader: Reader | None = None


class Readers:
    """The readers of all threads. That of a thread goes with it, and closes its connection."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self.local = _Mine()
        self._connect = connect
        self._gate = Gate()
        self._all: WeakSet[Reader] = WeakSet()
        # A signal handler may read while its own thread adds its reader.
        self._adding = threading.RLock()

    def mine(self) -> Reader:
        """The calling thread's reader."""
        return self.local.reader or self._add()

    def add(self, kind: Callable[[Callable[[], apsw.Connection], Gate], R]) -> R:
        """A reader of that kind, which the gate keeps out like all others."""
        reader = kind(self._connect, self._gate)
        with self._adding:
            self._all.add(reader)
        return reader

    def _add(self) -> Reader:
        self.local.reader = reader = self.add(Reader)
        return reader

    def are_interrupted(self) -> bool:
        """Whether this thread is inside one: nobody may wait for it, as it can't go on."""
        return any(reader.is_interrupted() for reader in list(self._all))

    def hold(self) -> None:
        """Close the gate, wait until no thread is inside SQLite, and close every connection."""
        self._adding.acquire()
        self._gate.opened.clear()
        self._gate.closed = True
        for reader in list(self._all):
            while reader.inside:
                time.sleep(_LOOK_AGAIN_SECONDS)
            reader.close()

    def release(self) -> None:
        """Open the gate; who reads opens a connection anew."""
        self._gate.closed = False
        self._gate.opened.set()
        self._adding.release()

    def close(self) -> None:
        """Close every connection; a thread that reads just now is waited for."""
        self.hold()
        self.release()
