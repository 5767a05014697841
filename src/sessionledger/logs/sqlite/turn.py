"""Taking turns: a lock file that makes writing fair between processes.

SQLite's own busy handler sleeps and retries, which starves some writers; `flock` queues them.
Correctness does not rest on it: `BEGIN IMMEDIATE` is what excludes.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class Turn:
    """`with turn:` runs while no other process that takes turns writes."""

    def __init__(self, path: Path) -> None:
        """Create the lock file, readable and writable by its owner only. Raises `OSError`."""
        self.path = path
        self._open()

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def reopen_in_child(self) -> None:
        """Stop sharing the lock with the parent: a flock belongs to the open file, not to us."""
        os.close(self._file)
        self._open()

    def close(self) -> None:
        os.close(self._file)
