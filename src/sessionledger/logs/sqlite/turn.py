"""Taking turns: a lock file that makes writing fair between processes.

SQLite's own busy handler sleeps and retries, which starves some writers; `flock` queues them.
Correctness does not rest on it: `BEGIN IMMEDIATE` is what excludes.
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
        fcntl.flock(self._descriptor(), fcntl.LOCK_EX)

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

    def _descriptor(self) -> int:
        if self._file is None:
            raise OSError(errno.EBADF, "the lock file is closed")
        return self._file
