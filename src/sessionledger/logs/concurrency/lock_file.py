"""A lock file, by which one process writes at a time.

`flock` queues the processes that wait, so that none starves. The kernel releases the lock when a
process dies. The file log excludes other writers by it alone. SQLite excludes them itself, and
takes the lock for fairness. A lock file that was removed or replaced meanwhile is noticed and
opened again: two processes that lock different files would both write.

`flock` can't be given a time. If the lock is not free, a thread waits for it, and does the work as
soon as it has the lock. (To hand the lock over, others would wait for the scheduler.) The thread
goes on waiting if the caller gives up, and then lets the lock go. There is one such thread for each
lock file that was waited for.
"""

from __future__ import annotations

import errno
import fcntl
import os
from _queue import SimpleQueue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn, TypeVar, cast

from sessionledger.errors import LogTimeout, MaintenanceRunning
from sessionledger.logs.concurrency.greenlets import allocate_lock, start_new_thread
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.concurrency.reentrancy import still_writing
from sessionledger.ownership import holder_of, open_companion, owner_of

T = TypeVar("T")


class LockFile:
    """The lock of a process, which no other process has meanwhile."""

    def __init__(self, path: Path, ledger: Path) -> None:
        """Open the lock file of a ledger, or make it. Raises as `open_companion` does."""
        self.path = path
        self._ledger = ledger
        self._file: int | None = None
        self._turns: SimpleQueue[_Turn | None] | None = None
        self._other: LockFile | None = None
        self._is_new = not path.exists()
        self._open()

    def _open(self) -> None:
        self._file = open_companion(self.path, owner_of(self._ledger))
        # Let the next process have the lock. It is no function of Python: an interrupt that came as
        # such a function begins, in a `finally`, would leave the lock with nobody.
        self.release: Callable[[], object] = partial(fcntl.flock, self._file, fcntl.LOCK_UN)

    def run(self, work: Callable[[], T], until: float) -> T:
        """Do the work with the lock, for one caller at a time. Raises `LogTimeout` if others have
        the lock until `time.monotonic` says so."""
        try:
            if self.try_to_acquire():
                return work()
        finally:
            self.release()
        turn = _Turn(work)
        self._line().put(turn)
        if not turn.is_over(until):
            raise LogTimeout(still_writing(holder_of(self.path), self._ledger))
        return cast(T, turn.answer())

    def _line(self) -> SimpleQueue[_Turn | None]:
        """The turns of a thread, which waits on a descriptor of its own."""
        if self._turns is None:
            turns: SimpleQueue[_Turn | None] = SimpleQueue()
            self._other = LockFile(self.path, self._ledger)
            start_new_thread(_take_turns, (self._other, turns))
            self._turns = turns
        return self._turns

    def acquire(self) -> None:
        """Wait for the lock, however long."""
        self._lock(fcntl.LOCK_EX)

    def try_to_acquire(self) -> bool:
        """Take the lock if nobody has it; whether it was taken."""
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def reopen_in_child(self) -> None:
        """Stop sharing the lock with the parent: a flock belongs to the open file, not to us."""
        other, self._turns, self._other = self._other, None, None
        if other is not None:
            other.close()
        self.close()
        self._open()

    def forget(self) -> None:
        """Close the lock file. Remove it if it was not there before, and nobody else has it."""
        if self._is_new and self.try_to_acquire():
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the lock file; closing twice is nothing."""
        file, self._file, self.release = self._file, None, _refuse
        if file is not None:
            with suppress(OSError):  # it is closed, and the lock gone, whatever else is reported
                os.close(file)
        if self._turns is not None:
            self._turns.put(None)
            self._turns = None

    __del__ = close

    def _lock(self, how: int) -> None:
        fcntl.flock(self._descriptor(), how)
        while not self._is_in_place():
            self.close()
            self._open()
            fcntl.flock(self._descriptor(), how)

    def _is_in_place(self) -> bool:
        """Whether the file that was locked is the one that others find."""
        try:
            found = os.stat(self.path)  # noqa: PTH116  a Path is not needed for it
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self._descriptor()))

    def _descriptor(self) -> int:
        return _refuse() if self._file is None else self._file


class Lease:
    """Who maintains a ledger: one thread of one process at a time."""

    def __init__(self, path: Path, ledger: Path) -> None:
        """path: of the lock file, which is made when the lease is first taken."""
        self._path = path
        self._ledger = ledger
        self._held: list[LockFile] = []

    def take(self) -> AbstractContextManager[None]:
        """Keep every other process from maintaining the ledger. Raises `MaintenanceRunning`."""
        lock = LockFile(self._path, self._ledger)
        if not lock.try_to_acquire():
            lock.close()
            raise MaintenanceRunning(f"another process maintains {self._ledger}: try again later")
        self._held.append(lock)
        return self._until_done(lock)

    @contextmanager
    def _until_done(self, lock: LockFile) -> Iterator[None]:
        try:
            yield
        finally:
            self._held.remove(lock)
            lock.close()

    def forget_in_child(self) -> None:
        """In a forked child: it is the parent's."""
        for lock in self._held:
            lock.close()


def _refuse() -> NoReturn:
    raise OSError(errno.EBADF, "the lock file is closed")


def _take_turns(lock_file: LockFile, turns: SimpleQueue[_Turn | None]) -> None:
    while (turn := turns.get()) is not None:
        turn.run(lock_file)
    lock_file.close()


class _Turn:
    """Some work that a thread does once it has the lock."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._mutex = Lock()
        self._is_wanted = True
        self._has_begun = self._has_ended = False
        self._asleep = allocate_lock()
        self._asleep.acquire()
        self._answer: Any = None
        self._error: BaseException | None = None

    def run(self, lock_file: LockFile) -> None:
        """Wait for the lock, and do the work if it is still wanted."""
        try:
            if self._is_wanted:
                lock_file.acquire()
            with self._mutex:
                self._has_begun = self._is_wanted
            if self._has_begun:
                self._answer = self._work()
        except BaseException as error:  # noqa: BLE001  raised where the answer is awaited
            self._error, self._has_begun = error, True
        finally:
            with suppress(OSError):
                lock_file.release()
            self._has_ended = True
            self._asleep.release()

    def is_over(self, until: float) -> bool:
        """Whether the work was done. False: it has not begun by then, and never will.

        Work that has begun is waited for, also by a caller that is interrupted.
        """
        interruption: BaseException | None = None
        seconds = max(0.0, until - monotonic())
        is_over = False
        while not is_over:
            try:
                is_over = self._has_ended or self._asleep.acquire(timeout=seconds)
                with self._mutex:
                    self._is_wanted = self._has_begun
                is_over, seconds = is_over or not self._has_begun, -1
            except BaseException as error:  # noqa: BLE001  raised once the work is over
                interruption, seconds = error, 0
        if interruption is not None:
            raise interruption
        return self._has_begun

    def answer(self) -> Any:
        """What the work answered or raised."""
        if self._error is not None:
            raise self._error
        return self._answer
