"""Who writes: one thread of this process at a time, in turn with other processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

import apsw

from sessionledger.errors import LogTimeout, LogUnavailable, StoreClosed
from sessionledger.logs.concurrency.forking import untouchable
from sessionledger.logs.concurrency.greenlets import beside_greenlets
from sessionledger.logs.concurrency.lock_file import LockFile
from sessionledger.logs.concurrency.reentrancy import Mutex
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.checkpoints import Checkpoints
from sessionledger.logs.sqlite.connection import (
    NO_FILE,
    SYNCHRONOUS,
    connect_writer,
    identity,
    translated_errors,
    wait_until,
)
from sessionledger.logs.sqlite.writer import Writer
from sessionledger.ownership import check_ledger

T = TypeVar("T")

INCREMENTAL = 2
"""What SQLite calls `auto_vacuum=INCREMENTAL`."""

_lost: set[Path] = set()
"""The ledgers that a forked child can't use: SQLite believes that it is in the middle of a call."""


class Transactions:
    """The write transactions of a log, on one connection that is opened when it is needed."""

    _writer: Writer | None

    def __init__(self, path: Path, durability: str, vfs: str | None, timeout: float) -> None:
        """Open the file, or make it. Raises what `connect_writer` and the system raise."""
        self._path = path
        self._name = str(path)
        self._durability = durability
        self._vfs = vfs
        self._timeout = timeout
        self._poison: str | None = None
        self._closed = False
        self._begin()
        self.check_open()
        if path.exists():
            check_ledger(path)
        self._lock_file = LockFile(path.with_name(path.name + "-lock"), path)
        try:
            self._writer = beside_greenlets(partial(self._open, self._until()))
        except BaseException:
            self._lock_file.forget()
            raise

    def _begin(self) -> None:
        """Start without threads: at first, and again in a forked child."""
        self._mutex = Mutex(beside_greenlets)
        self._is_lost = self._path in _lost

    def _until(self) -> float:
        return monotonic() + self._timeout

    def run(self, work: Callable[[Writer], T], until: float) -> T:
        """Do something in a transaction. Raises `LogTimeout`."""
        with translated_errors(self._path):
            return self._mutex.run(partial(self._transact, work, until), until)

    def _transact(self, work: Callable[[Writer], T], until: float) -> T:
        writer = self._healthy_writer(until)

        def transact() -> T:
            try:
                wait_until(writer.connection, until)
                writer.connection.execute("BEGIN IMMEDIATE")
                answer = work(writer)
                self._check_in_place()
                self._commit(writer.connection)
            except BaseException:
                writer.roll_back()
                raise
            return answer

        answer = self._lock_file.run(transact, until)
        self._checkpoints.run(writer.connection)
        return answer

    def _check_in_place(self) -> None:
        """Raises `LogUnavailable` where nobody who opens the ledger would find what is written."""
        if identity(self._name) != self._file:
            raise LogUnavailable(
                f"{self._path} was removed or replaced while it was open; nothing was written: put "
                "it back, or close the ledger and open it again"
            )

    def _commit(self, connection: apsw.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except apsw.IOError as error:
            # What a failed fsync left on the disk can't be known, and asking again may lie.
            self._poison = f"a commit failed ({error}); close the ledger and open it again"
            raise

    def flush(self) -> None:
        """Make durable what was committed without being flushed."""
        self._alone(self._flush)

    def _flush(self, until: float) -> None:
        # A commit that is flushed flushes all that were not: they stand before it in one file. A
        # checkpoint would do so only where no reader is in its way.
        connection = self._healthy_writer(until).connection
        connection.pragma("synchronous", SYNCHRONOUS["full"])
        try:
            self._transact(Writer.write_meta, until)
        finally:
            connection.pragma("synchronous", SYNCHRONOUS[self._durability])

    def vacuum(self) -> None:
        """Rewrite a file that never gives space back, as one that does. Nobody writes meanwhile."""

        def vacuum(until: float) -> None:
            connection = self._healthy_writer(until).connection
            if int(str(connection.pragma("auto_vacuum"))) != INCREMENTAL:
                self._rewrite(until)

        self._alone(vacuum)

    def purge(self) -> None:
        """Rewrite the file, so that nothing of what was replaced is in it, nor in the write-ahead
        log. Nobody writes meanwhile. Raises `LogTimeout`."""

        def purge(until: float) -> None:
            if not self._rewrite(until):
                raise LogTimeout(f"{self._path}-wal is being read: let that end, and try again")

        self._alone(purge)

    def _alone(self, work: Callable[[float], None]) -> None:
        """Do something while no thread of this process writes, until a time."""
        with translated_errors(self._path):
            until = self._until()
            self._mutex.run(partial(work, until), until)

    def _rewrite(self, until: float) -> bool:
        """Rewrite the file; whether the write-ahead log could be emptied."""
        connection = self._healthy_writer(until).connection

        def rewrite() -> bool:
            wait_until(connection, until)
            for (name,) in connection.execute(queries.STATISTICS).fetchall():
                connection.execute(f"DROP TABLE {name}")  # they repeat what is in the indexes
            connection.pragma("auto_vacuum", "incremental")
            try:
                connection.execute("VACUUM")
            except apsw.IOError as error:
                self._poison = f"a vacuum failed ({error}); close the ledger and open it again"
                raise
            ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return not busy

        return self._lock_file.run(rewrite, until)

    def _healthy_writer(self, until: float) -> Writer:
        self.check_open()
        if self._poison is not None:
            raise LogUnavailable(f"{self._path}: {self._poison}")
        if self._writer is None:
            self._writer = self._open(until)
        return self._writer

    def check_open(self) -> None:
        """Raises `StoreClosed`, or `LogUnavailable` where this process can't use the ledger."""
        if self._closed:
            raise StoreClosed(f"{self._path} is closed")
        if self._is_lost:
            raise LogUnavailable(
                f"{self._path} can't be used in this process: it was forked in the middle of a "
                "call, by a signal handler or beside a thread. Execute a program instead"
            )

    def _open(self, until: float) -> Writer:
        return self._lock_file.run(partial(self._open_alone, until), until)

    def _open_alone(self, until: float) -> Writer:
        before = identity(self._path)
        connection = connect_writer(self._path, self._vfs, self._durability, until)
        self._file = identity(self._path)
        if before not in (self._file, NO_FILE):
            connection.close()
            raise LogUnavailable(f"{self._path} was replaced while it was opened: try again")
        self._checkpoints = Checkpoints(connection)
        return Writer(connection)

    # -- the end, and forks

    def close(self, close_readers: Callable[[float], None]) -> None:
        """Close readers, connection and lock file, once nobody writes. Raises `LogTimeout`."""
        if not self._closed:
            until = self._until()
            with translated_errors(self._path):
                self._mutex.run(partial(self._close, close_readers, until), until)

    def _close(self, close_readers: Callable[[float], None], until: float) -> None:
        self._closed = True
        close_readers(until)
        self._disconnect()
        self._lock_file.close()

    def _disconnect(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.connection.close()

    def hold(self, until: float) -> bool:
        """Let nobody write and close the connection, unless this thread or, at that time, another
        one writes."""
        if not self._mutex.hold(until):
            return False
        self._disconnect()
        return True

    def release(self) -> None:
        """Let them write again."""
        self._mutex.release()

    def begin_in_child(self, *, is_lost: bool) -> None:
        """Stop sharing with the parent, whose threads are not here.

        is_lost: a thread was in the middle of a call, so this process can't use the ledger.
        """
        untouchable.append(self._writer)
        self._writer = None
        if is_lost:
            _lost.add(self._path)
        self._begin()
        if not self._closed:
            self._lock_file.reopen_in_child()
