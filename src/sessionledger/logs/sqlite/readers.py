"""One read connection per thread, and a gate that keeps all of them out of SQLite.

The gate is closed for a fork, which must not find another thread inside SQLite, and for a close.
It costs a read two attribute writes: a reader says that it is inside and then looks at the gate;
who closes the gate does so and then looks for readers inside. Whichever comes first, one sees the
other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

_LOOK_AGAIN_SECONDS = 0.00005


class Gate:
    """Open or closed, for all readers of a log."""

    def __init__(self) -> None:
        self.closed = False
        self.opened = threading.Event()


class Reader:
    """A thread's read connection."""

    __slots__ = ("_gate", "connection", "cursor", "execute", "inside", "thread")

    def __init__(self, connection: apsw.Connection, gate: Gate) -> None:
        self.thread = threading.current_thread()
        self.connection = connection
        self.cursor = connection.cursor()
        self.execute = self.cursor.execute
        self.inside = False
        self._gate = gate

    def select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        """All lines of a statement, which is thereby over."""
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            return self.execute(sql, values).fetchall()
        finally:
            self.inside = False

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Cursor]:
        """A cursor whose statements all see the same state of the database."""
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            self.execute("BEGIN")
            try:
                yield self.cursor
            finally:
                self.execute("COMMIT")
        finally:
            self.inside = False

    def _wait(self) -> None:
        while self._gate.closed:
            self.inside = False
            self._gate.opened.wait()
            self.inside = True


class _Mine(threading.local):
    reader: Reader | None = None


class Readers:
    """The readers of all threads. Those of threads that ended are closed when another opens."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self.local = _Mine()
        self._connect = connect
        self._gate = Gate()
        self._all: list[Reader] = []
        self._opening = threading.Lock()

    def mine(self) -> Reader:
        """The calling thread's reader, opened at its first read."""
        return self.local.reader or self._open()

    def _open(self) -> Reader:
        with self._opening:
            reader = Reader(self._connect(), self._gate)
            ended = [other for other in self._all if not other.thread.is_alive()]
            self._all = [other for other in self._all if other.thread.is_alive()] + [reader]
            for other in ended:
                other.connection.close()
        self.local.reader = reader
        return reader

    def hold(self) -> None:
        """Close the gate and wait until no thread is inside SQLite."""
        self._opening.acquire()
        self._gate.opened.clear()
        self._gate.closed = True
        for reader in self._all:
            while reader.inside:
                time.sleep(_LOOK_AGAIN_SECONDS)

    def release(self) -> None:
        """Open the gate."""
        self._gate.closed = False
        self._gate.opened.set()
        self._opening.release()

    def close(self) -> None:
        """Close every connection; a thread that reads just now is waited for."""
        self.hold()
        for reader in self._all:
            reader.connection.close()
        self.release()
