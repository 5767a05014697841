"""One read connection per thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import apsw


class Reader:
    """A thread's read connection. Its lock is held while it is inside SQLite: by the thread's own
    reads, by a close, or by a fork that waits for a quiet moment."""

    __slots__ = ("connection", "cursor", "execute", "lock", "thread")

    def __init__(self, connection: apsw.Connection) -> None:
        self.thread = threading.current_thread()
        self.lock = threading.Lock()
        self.connection = connection
        self.cursor = connection.cursor()
        self.execute = self.cursor.execute

    def select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        """All lines of a statement, which is thereby over."""
        with self.lock:
            return self.execute(sql, values).fetchall()


class _Mine(threading.local):
    reader: Reader | None = None


class Readers:
    """The readers of all threads. Those of threads that ended are closed when another opens."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self._mine = _Mine()
        self._all: list[Reader] = []
        self._opening = threading.Lock()

    def mine(self) -> Reader:
        """The calling thread's reader, opened at its first read."""
        return self._mine.reader or self._open()

    def _open(self) -> Reader:
        reader = Reader(self._connect())
        with self._opening:
            ended = [other for other in self._all if not other.thread.is_alive()]
            self._all = [other for other in self._all if other.thread.is_alive()] + [reader]
        for other in ended:
            other.connection.close()
        self._mine.reader = reader
        return reader

    def hold(self) -> None:
        """Wait until no thread is inside SQLite, and keep them out."""
        self._opening.acquire()
        for reader in self._all:
            reader.lock.acquire()

    def release(self) -> None:
        """Let them in again."""
        for reader in self._all:
            reader.lock.release()
        self._opening.release()

    def close(self) -> None:
        """Close every connection; a thread that reads just now is waited for."""
        self.hold()
        for reader in self._all:
            reader.connection.close()
        self.release()
