"""Who writes: one thread of one process at a time.

A lock among the threads, and `flock` on `ledger.lock` among the processes. The lock file is open
twice, since a flock belongs to the open file: who reads can ask by the second one whether anybody
writes, this process too, without waiting for those who wait for their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sessionledger.logs.concurrency.lock_file import Turn
from sessionledger.logs.concurrency.reentrancy import Alone

T = TypeVar("T")


class Turns:
    """The turns of one log."""

    def __init__(self, path: Path) -> None:
        """Create the lock file, or open it. Raises `OSError`."""
        self._turn = Turn(path)
        self._peek = Turn(path)
        self._begin()

    def _begin(self) -> None:
        self._alone = Alone()
        self._is_held = False

    def take(self, check: Callable[[], None], work: Callable[[], T]) -> T:
        """Do something while nobody else writes, if `check` then does not raise.

        Raises `LogUnavailable` to a signal handler that interrupted such a thing.
        """

        def taken() -> T:
            check()
            try:
                self._turn.take()
                return work()
            finally:
                self._turn.give()

        return self._alone.run(taken)

    def check(self) -> None:
        """Raises `LogUnavailable` to a signal handler that interrupted who has the turn."""
        self._alone.check()

    def if_nobody_writes(self, work: Callable[[], T], otherwise: T) -> T:
        """Do something at once, unless somebody writes; for one thread at a time."""
        try:
            return work() if self._peek.try_to_take() else otherwise
        finally:
            self._peek.give()

    def hold(self) -> None:
        """Let no thread of this process write, but for one whose signal handler asks for it."""
        self._is_held = self._alone.hold()

    def release(self) -> None:
        """Let them write again."""
        if self._is_held:
            self._is_held = False
            self._alone.release()

    def begin_in_child(self, *, is_open: bool) -> None:
        """Stop sharing with the parent, whose threads are not here."""
        self._begin()
        if is_open:
            self._turn.reopen_in_child()
            self._peek.reopen_in_child()

    def close(self) -> None:
        """Close the lock file, once nobody writes."""
        self._alone.run(self._close)

    def _close(self) -> None:
        self._turn.close()
        self._peek.close()
