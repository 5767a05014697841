"""Who writes: one thread of one process at a time.

A lock among the threads, and `flock` on `ledger.lock` among the processes. The lock file is open
twice, since a flock belongs to the open file: who reads can ask by the second one whether anybody
writes, this process too, without waiting for those who wait for their turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sessionledger.logs.turn import Turn

T = TypeVar("T")


class Turns:
    """The turns of one log."""

    def __init__(self, path: Path) -> None:
        """Create the lock file, or open it. Raises `OSError`."""
        self._turn = Turn(path)
        self._peek = Turn(path)
        self._begin()

    def _begin(self) -> None:
        self._writing = threading.Lock()

    def take(self, check: Callable[[], None], work: Callable[[], T]) -> T:
        """Do something while nobody else writes, if `check` then does not raise.

        A plain function and plain locks, since a signal may raise between any two calls: a context
        manager written in Python could be left with what it had just taken.
        """
        with self._writing:
            check()
            try:
                self._turn.take()
                return work()
            finally:
                self._turn.give()

    def if_nobody_writes(self, work: Callable[[], T], otherwise: T) -> T:
        """Do something at once, unless somebody writes; for one thread at a time."""
        try:
            return work() if self._peek.try_to_take() else otherwise
        finally:
            self._peek.give()

    def hold(self) -> None:
        """Let no thread of this process write."""
        self._writing.acquire()

    def release(self) -> None:
        """Let them write again."""
        self._writing.release()

    def begin_in_child(self, *, is_open: bool) -> None:
        """Stop sharing with the parent, whose threads are not here."""
        self._begin()
        if is_open:
            self._turn.reopen_in_child()
            self._peek.reopen_in_child()

    def close(self) -> None:
        """Close the lock file, once nobody writes."""
        with self._writing:
            self._turn.close()
            self._peek.close()
