"""One thing at a time, though a signal handler may interrupt it in its own thread.

Such a handler can't wait for what it interrupted. It is refused, and so is a fork that it makes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from typing import TypeVar

from sessionledger.errors import LogUnavailable

T = TypeVar("T")

_NOBODY = 0


class Reentered(LogUnavailable):
    """A signal handler asked for what its own thread is in the middle of."""

    def __init__(self) -> None:
        super().__init__(
            "called from within a signal handler that interrupted a call of the same thread to the "
            "same ledger: let the handler set a flag, and do it afterwards"
        )


class Alone:
    """Does the work of one thread at a time, and refuses what would wait for itself."""

    def __init__(self) -> None:
        # One that its owner may take again: a handler that comes between the lock and the note of
        # who has it goes first, as nothing has begun.
        self._lock = threading.RLock()
        self._owner = _NOBODY

    def is_mine(self) -> bool:
        """Whether this thread is in the middle of it: then a signal handler is asking."""
        return self._owner == get_ident()

    def check(self) -> None:
        """Raises `Reentered` to a handler that interrupted it."""
        if self.is_mine():
            raise Reentered

    def run(self, work: Callable[[], T]) -> T:
        """Do something alone.

        A plain function and a plain lock, since a signal may raise between any two calls: a context
        manager written in Python could be left with what it had just taken.
        """
        with self._lock:
            self.check()
            try:
                self._owner = get_ident()
                return work()
            finally:
                self._owner = _NOBODY

    def hold(self) -> bool:
        """Keep it from everybody until `release`, unless it is this thread that is in it."""
        if self.is_mine():
            return False
        self._lock.acquire()
        return True

    def release(self) -> None:
        """End what `hold` began."""
        self._lock.release()
