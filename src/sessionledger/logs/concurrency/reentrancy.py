"""What protects a log from signal handlers that call it in the middle of their own thread's calls.

Such a handler can't wait for the call that it interrupted, so its own call is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TypeVar

from sessionledger.errors import LogUnavailable
from sessionledger.logs.concurrency.locks import Lock

T = TypeVar("T")

_NOBODY = 0


class Reentered(LogUnavailable):
    """A signal handler made a call that has to wait for the one it interrupted."""

    def __init__(self) -> None:
        super().__init__(
            "a signal handler called a ledger in the middle of its own thread's call: let the "
            "handler set a flag, and make the call afterwards"
        )


class ReentrancyGuard:
    """Runs calls of any number of threads, and refuses a second one of the same thread."""

    def __init__(self) -> None:
        self._inside: set[int] = set()

    def run(self, work: Callable[[], T]) -> T:
        """Do the work. Raises `Reentered` to a handler that interrupted other work.

        This is no context manager: a signal may raise between any two calls, and would leave the
        thread inside for good.
        """
        me = get_ident()
        if me in self._inside:
            raise Reentered
        try:
            self._inside.add(me)
            return work()
        finally:
            self._inside.discard(me)


class Mutex:
    """Does the work of one thread at a time. Calls of signal handlers are refused before it."""

    def __init__(self) -> None:
        # Its owner may take it again. A handler that comes between the lock and the note of its
        # owner goes first, as nothing has begun.
        self._lock = Lock()
        self._owner = _NOBODY

    def run(self, work: Callable[[], T]) -> T:
        """Do the work alone; no context manager either."""
        with self._lock:
            try:
                self._owner = get_ident()
                return work()
            finally:
                self._owner = _NOBODY

    def hold(self) -> bool:
        """Keep all threads out until `release`, unless this thread is in the middle of work."""
        if self._owner == get_ident():
            return False
        self._lock.acquire()
        return True

    def release(self) -> None:
        """End what `hold` began."""
        self._lock.release()
