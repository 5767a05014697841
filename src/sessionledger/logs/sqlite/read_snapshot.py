"""A connection that reads a ledger in one snapshot and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import quote

import apsw

from sessionledger.errors import LogUnavailable
from sessionledger.logs.concurrency.forking import untouchable, watch_forks
from sessionledger.logs.concurrency.reentrancy import Mutex, ReentrancyGuard
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS
from sessionledger.logs.sqlite.connection import companions, flush_wal, wait_until
from sessionledger.logs.sqlite.readers import Execute

T = TypeVar("T")

_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_READ_AND_LOCK = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI


class ReadSnapshot:
    """`with ReadSnapshot(path, vfs) as snapshot:` sees the ledger as it is at its first statement.

    Each statement takes a mutex, so that a fork finds no thread inside SQLite. A fork ends the
    snapshot, since SQLite's locks can't be shared with a child.
    """

    def __init__(self, path: Path, vfs: str | None, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._vfs = vfs
        self._timeout = timeout
        self._guard = ReentrancyGuard()
        self._mutex = Mutex()
        self._is_quiet = False
        self._is_flushed = True
        self._unlocked: tuple[Any, ...] | None = None
        self._connection: apsw.Connection | None = None
        watch_forks(self)

    def __enter__(self) -> ReadSnapshot:
        try:
            self._begin()
        except BaseException:
            self._close()
            raise
        return self

    def _begin(self) -> None:
        self._alone(self._connect)
        self.select("BEGIN")
        self._is_flushed = False

    def __exit__(self, kind: object, *_: object) -> None:
        self._close()
        if kind is None and self._unlocked not in (None, self._found()):
            raise LogUnavailable(f"{self._path} was written meanwhile: read it again")

    def renew(self) -> None:
        """Go on with a snapshot of what is there by now. Raises `LogUnavailable` without locks."""
        if self._unlocked is not None:
            raise LogUnavailable(
                f"{self._path} is shown as it was: without permission to write it, nothing more "
                "comes to it here"
            )
        self._alone(self._disconnect)
        self._begin()

    def select(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All lines of a statement."""
        return self.run(lambda execute: execute(sql, values).fetchall())

    def run(self, work: Callable[[Execute], T]) -> T:
        """Do something with the snapshot, at once."""
        return self._alone(partial(self._run, work))

    def _alone(self, work: Callable[[], T]) -> T:
        return self._guard.run(partial(self._mutex.run, work, monotonic() + self._timeout))

    def _run(self, work: Callable[[Execute], T]) -> T:
        if self._connection is None:
            raise LogUnavailable(f"the process forked while it read {self._path}: read it again")
        answer = work(self._connection.execute)
        if not self._is_flushed:
            # The snapshot began with this read. What it shows is not to be lost any more.
            flush_wal(self._path)
            self._is_flushed = True
        return answer

    def before_fork(self, until: float) -> None:
        if self._mutex.hold(until):
            self._is_quiet = True
            self._disconnect()

    def after_fork_in_parent(self) -> None:
        if self._is_quiet:
            self._is_quiet = False
            self._mutex.release()

    def after_fork_in_child(self) -> None:
        untouchable.append(self._connection)
        self._connection, self._is_quiet = None, False
        self._guard, self._mutex = ReentrancyGuard(), Mutex()

    def _connect(self) -> None:
        self._connection = self._opened()

    def _opened(self) -> apsw.Connection:
        """A connection that leaves the files as it found them.

        If there is a write-ahead log, a connection that only reads leaves it alone. If there is no
        log, one that could write removes, at its end, the empty log that it had to make. If that is
        not permitted either, no process has the ledger open, and the file is read without locks. A
        writer that comes meanwhile leaves a log, or another time of change.
        """
        uri = f"file:{quote(str(self._path))}"
        wal = companions(self._path)[0]
        if _has_content(wal):
            return self._open(uri, _READ)
        if os.access(self._path, os.W_OK) and os.access(self._path.parent, os.W_OK):
            return self._open(uri, _READ_AND_LOCK)
        if wal.exists():
            return self._open(uri, _READ)
        self._unlocked = self._found()
        return self._open(f"{uri}?immutable=1", _READ)

    def _open(self, uri: str, flags: int) -> apsw.Connection:
        connection = apsw.Connection(uri, flags=flags, vfs=self._vfs)
        wait_until(connection, monotonic() + self._timeout)
        connection.pragma("query_only", True)
        return connection

    def _found(self) -> tuple[Any, ...]:
        """What tells whether somebody wrote."""
        file = self._path.stat()
        log = _has_content(companions(self._path)[0])
        return log, file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns

    def _close(self) -> None:
        self._alone(self._disconnect)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0
