"""Who writes: one thread of this process at a time, in turn with other processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from sessionledger.errors import LogUnavailable
from sessionledger.logs.concurrency.forking import untouchable
from sessionledger.logs.concurrency.lock_file import Turn
from sessionledger.logs.concurrency.reentrancy import Alone
from sessionledger.logs.sqlite.connection import (
    NO_FILE,
    SYNCHRONOUS,
    connect_writer,
    explained,
    identity,
)
from sessionledger.logs.sqlite.writer import Writer

T = TypeVar("T")


class Transactions:
    """The write transactions of a log, on one connection that is opened when it is needed."""

    _writer: Writer | None

    def __init__(self, path: Path, durability: str, vfs: str | None) -> None:
        """Open the file, or make it. Raises what `connect_writer` and the system raise."""
        self._path = path
        self._name = str(path)
        self._durability = durability
        self._vfs = vfs
        self._poison: str | None = None
        self._alone = Alone()
        self._turn = Turn(path.with_name(path.name + "-lock"))
        try:
            self._writer = self._open()
        except BaseException:
            self._turn.forget()
            raise

    def check(self) -> None:
        """Raises `Reentered` to a signal handler that interrupted a transaction of its thread."""
        self._alone.check()

    def run(self, check: Callable[[], None], work: Callable[[Writer], T]) -> T:
        """Do something in a transaction, if `check` then does not raise."""
        with explained(self._path):
            return self._alone.run(lambda: self._run(check, work))

    def _run(self, check: Callable[[], None], work: Callable[[Writer], T]) -> T:
        writer = self._healthy_writer(check)
        try:
            self._turn.take()
            writer.connection.execute("BEGIN IMMEDIATE")
            answer = work(writer)
            self._check_in_place()
            self._commit(writer.connection)
        except BaseException:
            writer.roll_back()
            raise
        finally:
            self._turn.give()
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

    def flush(self, check: Callable[[], None]) -> None:
        """Make durable what was committed without being flushed."""
        with explained(self._path):
            self._alone.run(lambda: self._flush(check))

    def _flush(self, check: Callable[[], None]) -> None:
        # A commit that is flushed flushes all that were not: they stand before it in one file. A
        # checkpoint would do so only where no reader is in its way.
        connection = self._healthy_writer(check).connection
        connection.pragma("synchronous", SYNCHRONOUS["full"])
        try:
            self._run(check, Writer.write_meta)
        finally:
            connection.pragma("synchronous", SYNCHRONOUS[self._durability])

    def _healthy_writer(self, check: Callable[[], None]) -> Writer:
        check()
        if self._poison is not None:
            raise LogUnavailable(f"{self._path}: {self._poison}")
        if self._writer is None:
            self._writer = self._open()
        return self._writer

    def _open(self) -> Writer:
        with self._turn:
            place = (self._path, self._turn.path, self._vfs)
            before = identity(self._path)
            writer = Writer(connect_writer(*place, self._durability))
            self._file = identity(self._path)
            if before not in (self._file, NO_FILE):
                writer.connection.close()
                raise LogUnavailable(f"{self._path} was replaced while it was opened: try again")
            return writer

    # -- the end, and forks

    def close(self, first: Callable[[], None]) -> None:
        """Close connection and lock file once nobody writes, after doing something else."""
        with explained(self._path):
            self._alone.run(lambda: self._close(first))

    def _close(self, first: Callable[[], None]) -> None:
        first()
        self._disconnect()
        self._turn.close()

    def _disconnect(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.connection.close()

    def hold(self) -> bool:
        """Let nobody write and close the connection, unless it is this thread that writes."""
        if not self._alone.hold():
            return False
        self._disconnect()
        return True

    def release(self) -> None:
        """Let them write again."""
        self._alone.release()

    def begin_in_child(self, *, is_open: bool) -> None:
        """Stop sharing with the parent, whose threads are not here."""
        untouchable.append(self._writer)
        self._writer = None
        self._alone = Alone()
        if is_open:
            self._turn.reopen_in_child()
