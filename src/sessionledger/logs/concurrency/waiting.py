"""Waiting for events: woken by this process's own appends, and looking for those of others."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition

POLL_SECONDS = 0.01
"""How often another process's appends are looked for while somebody waits for them."""


def wait_above(
    after: int,
    latest: Callable[[], int],
    changed: Condition,
    timeout: float | None,
    look: float = POLL_SECONDS,
) -> int:
    """Wait until the newest id is above `after`, at most `timeout` seconds; answer it.

    `changed` is notified of every append of this process; look: how often those of others are
    looked for, in seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while (head := latest()) <= after:
        left = look if deadline is None else deadline - time.monotonic()
        if left <= 0:
            break
        with changed:
            changed.wait(min(left, look))
    return head
