"""What protects a log from signal handlers that call it in the middle of their own thread's calls.

Such a handler can't wait for the call that it interrupted, so its own call is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from sessionledger.errors import LogTimeout, LogUnavailable
from sessionledger.logs.concurrency.greenlets import Beside, are_greenlets, get_ident, in_place
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
        me = threading.get_ident()
        if me in self._inside:
            raise Reentered
        try:
            self._inside.add(me)
            return work()
        finally:
            self._inside.discard(me)


class Mutex:
    """Does the work of one thread at a time. Calls of signal handlers are refused before it."""

    def __init__(self, beside: Beside = in_place) -> None:
        """beside: makes the calls in native threads; otherwise greenlets wait here themselves."""
        self._beside = beside
        # Its owner may take it again. A handler that comes between the lock and the note of its
        # owner goes first, as nothing has begun.
        self._lock: Any = Lock()
        if beside is in_place and are_greenlets():
            from gevent.lock import RLock  # that of C takes all greenlets for one owner

            self._lock = RLock()
        self._owner = _NOBODY

    def run(self, work: Callable[[], T], until: float) -> T:
        """Do the work alone; no context manager either. Raises `LogTimeout`."""
        return self._beside(partial(self._run, work, until))  # type: ignore[no-any-return]

    def _run(self, work: Callable[[], T], until: float) -> T:
        taken: list[bool] = []
        try:
            # One call from taking to noting: no signal handler runs in the middle of it.
            taken.extend(map(self._lock.acquire, (True,), (max(0.0, until - monotonic()),)))
            if not taken[0]:
                raise LogTimeout(still_writing("another thread"))
            self._owner = get_ident()
            return work()
        finally:
            # No call comes before the release: an interrupt may be raised where a call ends.
            if taken and taken[0]:
                self._owner = _NOBODY
                self._lock.release()

    def hold(self, until: float) -> bool:
        """Keep all threads out until `release`. Not if this thread is in the middle of work, or
        another one still is at that time."""
        if self._owner == get_ident():
            return False
        return bool(self._lock.acquire(timeout=max(0.0, until - monotonic())))

    def release(self) -> None:
        """End what `hold` began."""
        self._lock.release()


def still_writing(holder: str, what: object = "the ledger") -> str:
    """What a `LogTimeout` says."""
    return (
        f"{holder} is still writing {what}, and the time to wait for it is over; nothing was "
        "written. Let it go on or end it if it stands still, or open the ledger with a longer "
        "timeout"
    )
