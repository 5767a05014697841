"""How long calls wait, and waiting for events: of this process, or of others, looked for."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import TypeVar

from sessionledger.logs.arguments import check_id

T = TypeVar("T")

POLL_SECONDS = 0.01
"""How often another process's appends are looked for while somebody waits for them."""
NOTICE_SECONDS = 0.25
"""How soon what waits in a store of threads notices that it was closed."""


TIMEOUT_SECONDS = 10.0
MOMENT_SECONDS = 0.005  # how long a read waits in an event loop, before a thread goes on with it


_waited: ContextVar[float] = ContextVar("waited", default=0.0)


def until_of_call(timeout: float) -> float:
    """When a call stops waiting: it may have waited for a thread before."""
    return time.monotonic() + max(0.0, timeout - _waited.get())


def having_waited(seconds: float, call: Callable[[], T]) -> T:
    """Do a call whose caller waited for a thread, which its timeout includes."""
    token = _waited.set(seconds)
    try:
        return call()
    finally:
        _waited.reset(token)


def until_of_read(timeout: float) -> float:
    """When a read that has to write, such as one that folds others' events, stops waiting."""
    asyncio = sys.modules.get("asyncio")  # where it is not imported, no loop runs
    is_in_loop = asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001
    return until_of_call(min(timeout, MOMENT_SECONDS) if is_in_loop else timeout)


class Waiters:
    """The threads that wait for events of a log. For each topic, one of them looks for all.

    Each sleeps on a lock of its own, and each step below is one that no signal can divide. A
    `Condition` can be left locked, or unlocked twice, by an interrupt.
    """

    def __init__(self) -> None:
        self._asleep: set[tuple[str, threading.Lock]] = set()
        self._looking: dict[tuple[int, str], tuple[threading.Lock, int]] = {}

    def notify(self) -> None:
        """Wake them: this process appended something, or the log was closed."""
        with suppress(KeyError):  # another thread woke the last of them
            while self._asleep:
                self._asleep.pop()[1].release()

    def _wake_one(self, topic: str) -> None:
        for sleeper in tuple(self._asleep):
            if sleeper[0] == topic:
                with suppress(KeyError):  # another thread woke it
                    self._asleep.remove(sleeper)
                    sleeper[1].release()
                    return

    def wait_above(
        self,
        topic: str,
        after: int,
        latest: Callable[[], int],
        timeout: float | None,
        poll: float = POLL_SECONDS,
    ) -> int:
        """Wait until the newest id is above `after`, at most `timeout` seconds; answer it.

        poll: how often to look for others' appends, in seconds.
        """
        after = check_id(after)
        deadline = None if timeout is None else time.monotonic() + timeout
        sleep, seen = threading.Lock(), None
        sleep.acquire()
        # In a forked child nobody looks yet.
        place, own = (os.getpid(), topic), (sleep, threading.get_ident())
        is_over = False
        try:
            self._asleep.add((topic, sleep))
            while True:
                # A signal handler looks for itself if it interrupted the thread that looks.
                looks = self._looking.setdefault(place, own)[1] == own[1]
                head = latest()
                is_over = head > after
                left = NOTICE_SECONDS if deadline is None else deadline - time.monotonic()
                if is_over or left <= 0:
                    return head
                if looks and seen not in (None, head):
                    self.notify()
                seen = head
                if sleep.acquire(timeout=min(poll if looks else NOTICE_SECONDS, left)):
                    self._asleep.add((topic, sleep))
        finally:
            # No call comes before this: an interrupt may be raised where a call ends, and nobody
            # else would look from then on.
            looked = place in self._looking and self._looking[place] is own
            if looked:
                del self._looking[place]
            self._asleep.discard((topic, sleep))
            if looked:
                # The first that wakes looks from now on.
                if is_over:
                    self.notify()
                else:
                    self._wake_one(topic)
