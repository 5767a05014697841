"""A lock file, by which one process writes at a time.

`flock` queues the processes that wait, so that none starves. The kernel releases the lock when a
process dies. The file log excludes other writers by it alone. SQLite excludes them itself, and
takes the lock for fairness. A lock file that was removed or replaced meanwhile is noticed and
opened again: two processes that lock different files would both write.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from sessionledger.ownership import open_companion, owner_of


class LockFile:
    """The lock of a process, which no other process has meanwhile."""

    def __init__(self, path: Path, ledger: Path) -> None:
        """Open the lock file of a ledger, or make it. Raises as `open_companion` does."""
        self.path = path
        self._ledger = ledger
        self._file: int | None = None
        self._is_new = not path.exists()
        self._open()

    def _open(self) -> None:
        self._file = open_companion(self.path, owner_of(self._ledger))

    def acquire(self) -> None:
        """Wait for the lock."""
        self._lock(fcntl.LOCK_EX)

    def try_to_acquire(self) -> bool:
        """Take the lock if nobody has it; whether it was taken."""
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let the next process have the lock; releasing what one does not have is nothing."""
        fcntl.flock(self._descriptor(), fcntl.LOCK_UN)

    def reopen_in_child(self) -> None:
        """Stop sharing the lock with the parent: a flock belongs to the open file, not to us."""
        self.close()
        self._open()

    def forget(self) -> None:
        """Close the lock file, and remove it if it was not there before."""
        self.close()
        if self._is_new:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the lock file; closing twice is nothing."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # it is closed, and the lock gone, whatever else is reported
                os.close(file)

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
        if self._file is None:
            raise OSError(errno.EBADF, "the lock file is closed")
        return self._file
