"""Waiting for events: woken by this process's own appends, and looking for those of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

POLL_SECONDS = 0.01
"""How often another process's appends are looked for while somebody waits for them."""


class Waiters:
    """The threads that wait for events of a log.

    Each sleeps on a lock of its own, and each step below is one that no signal can divide. A
    `Condition` can be left locked, or unlocked twice, by an interrupt.
    """

    def __init__(self) -> None:
        self._asleep: set[threading.Lock] = set()

    def notify(self) -> None:
        """Wake them: this process appended something, or the log was closed."""
        with suppress(KeyError):  # another thread woke the last of them
            while self._asleep:
                self._asleep.pop().release()

    def wait_above(
        self,
        after: int,
        latest: Callable[[], int],
        timeout: float | None,
        poll: float = POLL_SECONDS,
    ) -> int:
        """Wait until the newest id is above `after`, at most `timeout` seconds; answer it.

        poll: how often to look for others' appends, in seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        sleep = threading.Lock()
        sleep.acquire()
        try:
            self._asleep.add(sleep)
            while (head := latest()) <= after:
                left = poll if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    break
                if sleep.acquire(timeout=min(left, poll)):
                    self._asleep.add(sleep)
        finally:
            self._asleep.discard(sleep)
        return head
