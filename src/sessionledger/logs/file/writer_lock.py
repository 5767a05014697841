"""Who writes: one thread of one process at a time.

A mutex excludes the threads, and `flock` on `ledger.lock` the processes. The lock file is open
twice, since a flock belongs to the open file. By the second one a reader finds out whether anybody
writes, this process included, without waiting in line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sessionledger.logs.concurrency.greenlets import beside_greenlets
from sessionledger.logs.concurrency.lock_file import LockFile
from sessionledger.logs.concurrency.reentrancy import Mutex

T = TypeVar("T")

LOCK = "ledger.lock"


class WriterLock:
    """The lock that a thread has while it writes."""

    def __init__(self, root: Path) -> None:
        """Open the lock file of a ledger, or make it. Raises `OSError` and `LogUnavailable`."""
        self._lock_file = LockFile(root / LOCK, root)
        self._probe = LockFile(root / LOCK, root)
        self._begin()

    def _begin(self) -> None:
        self._mutex = Mutex(beside_greenlets)
        self._is_held = False

    def run(self, work: Callable[[], T], check: Callable[[], None], until: float) -> T:
        """Do the work while nobody else writes, if `check` does not raise. Raises `LogTimeout`."""

        def locked() -> T:
            check()
            return self._lock_file.run(work, until)

        return self._mutex.run(locked, until)

    def if_nobody_writes(self, work: Callable[[], T], otherwise: T) -> T:
        """Do the work at once, unless somebody writes; for one thread at a time."""
        try:
            return work() if self._probe.try_to_acquire() else otherwise
        finally:
            self._probe.release()

    def hold(self, until: float) -> None:
        """Let no thread of this process write, except one whose signal handler asks for it, and
        one that still does at that time."""
        self._is_held = self._mutex.hold(until)

    def release(self) -> None:
        """Let them write again."""
        if self._is_held:
            self._is_held = False
            self._mutex.release()

    def begin_in_child(self, *, is_open: bool) -> None:
        """Stop sharing with the parent, whose threads are not here."""
        self._begin()
        if is_open:
            self._lock_file.reopen_in_child()
            self._probe.reopen_in_child()

    def close(self, until: float) -> None:
        """Close the lock file, once nobody writes. Raises `LogTimeout`."""
        self._mutex.run(self._close, until)

    def _close(self) -> None:
        self._lock_file.close()
        self._probe.close()
