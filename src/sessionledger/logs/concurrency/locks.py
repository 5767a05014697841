"""Locks and permits that an interrupt cannot leave taken.

`with` takes a lock before it is bound to release it. Since CPython 3.14 a signal handler may raise
between the two, and a lock of `threading` then stays locked for ever.
"""

from __future__ import annotations

import sys
from _thread import RLock
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from sessionledger.errors import LogTimeout

if TYPE_CHECKING:  # most processes have no pool
    from queue import SimpleQueue


class Lock(RLock):  # type: ignore[misc]  # final for typeshed only
    """A reentrant lock for `with`. It is held for a few statements that wait for nothing."""

    timeout = -1.0

    def hold(self, until: float) -> None:
        """Take it for a fork, if it is free before `time.monotonic` says so."""
        self.acquire(timeout=max(0.0, until - monotonic()))

    def let_go(self) -> None:
        """End what `hold` began, if it began."""
        with suppress(RuntimeError):
            self.release()

    def _enter(self) -> bool:
        taken: list[bool] = []
        try:
            # One call from taking to noting: no signal handler runs in the middle of it.
            taken.extend(map(self.acquire, (True,), (self.timeout,)))
        except BaseException:
            if taken and taken[0]:
                self.release()
            raise
        if not taken[0]:
            raise LogTimeout("another thread uses the ledger for too long; nothing was written")
        return True

    if sys.version_info >= (3, 14):
        __enter__ = _enter


class TimedLock(Lock):  # type: ignore[misc]
    """A lock for work that may take a while: nobody waits longer than `timeout` seconds."""

    __enter__ = Lock._enter  # type: ignore[assignment]  # noqa: SLF001


class Permit:
    """The right to one of a few things. `give_back`, which may be called twice, ends it.

    Taking and giving back are one call each into C, which no signal can divide. Let `give_back` be
    the first call of a `finally`: an interrupt may be raised where a call ends.
    """

    def __init__(self, permits: SimpleQueue[None]) -> None:
        self._permits = permits
        self._held: list[None] = []
        self.give_back: Callable[[], object] = partial(deque, map(permits.put, iter(self._held)), 0)

    def take(self, timeout: float) -> None:
        """Raises `Empty` if all are taken for so long."""
        self._held.extend(map(self._permits.get, (True,), (timeout,)))
