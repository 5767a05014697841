"""Taking turns: a lock file by which one process writes at a time.

`flock` queues those who wait, so that none starves, and is released by the kernel when a process
dies. SQLite excludes by itself, and takes turns for fairness only; for the file log it is what
excludes. A lock file that was removed or replaced meanwhile is noticed and opened anew: two
processes that lock different files would both believe that it is their turn.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType


class Turn:
    """`with turn:` runs while no other process that takes turns writes."""

    def __init__(self, path: Path) -> None:
        """Create the lock file, readable and writable by its owner only. Raises `OSError`."""
        self.path = path
        self._file: int | None = None
        self._is_new = not path.exists()
        self._open()

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> None:
        """Wait for the turn."""
        self._lock(fcntl.LOCK_EX)

    def try_to_take(self) -> bool:
        """Take the turn if nobody has it; whether it was taken."""
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give(self) -> None:
        """Let the next one have it; giving what one does not have is nothing."""
        fcntl.flock(self._descriptor(), fcntl.LOCK_UN)

    def __enter__(self) -> None:
        self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give()

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
