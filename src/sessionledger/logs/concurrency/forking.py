"""What must happen around a fork, so that a child neither uses nor harms an inherited log.

Before the fork every log waits until none of its threads is inside the storage's library, and
closes its files. Otherwise a child would inherit the library's locks, held by threads that it does
not have. Parent and child each open their own files when they next need them.

One thread forks at a time. A fork by a signal handler goes ahead without that if it interrupted
another fork, or if a log can't be kept quiet for it. So does any fork once it has waited for 10 s.
The child learns that from its log, which was not told before, or is not quiet.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import Protocol
from weakref import WeakSet

_PATIENCE_SECONDS = 10.0


class Forkable(Protocol):
    """Something with threads, locks or handles that mean nothing in a forked child."""

    def before_fork(self, until: float) -> None:  # noqa: ARG002  for those who wait
        """Wait until nothing is under way, or until then, and keep it so. By default nothing."""
        return

    def after_fork_in_parent(self) -> None:
        """Go on."""
        return

    def after_fork_in_child(self) -> None:
        """Forget threads, locks and handles of the parent, without closing them.

        Where it was not told before, some may be in use.
        """
        ...


class _Fork:
    """One that is under way: who was told, and whether no other thread forks."""

    def __init__(self) -> None:
        self.told: list[Forkable] = []
        self.is_alone = False


class _Mine(threading.local):
    def __init__(self) -> None:
        self.forks: list[_Fork] = []


_forkables: WeakSet[Forkable] = WeakSet()
_mine = _Mine()
_forking = threading.Lock()

untouchable: list[object] = []
"""What a forked child has inherited in use: neither to be used nor to be closed."""


def watch_forks(forkable: Forkable) -> None:
    """Have it told of every fork of this process, for as long as it lives."""
    _forkables.add(forkable)


def _before() -> None:
    fork = _Fork()
    _mine.forks.append(fork)
    if len(_mine.forks) > 1:
        return
    until = monotonic() + _PATIENCE_SECONDS
    # Who forks already may be waiting for a call that this fork, of a signal handler, interrupted.
    fork.is_alone = _forking.acquire(timeout=_PATIENCE_SECONDS)
    if fork.is_alone:
        for forkable in list(_forkables):
            fork.told.append(forkable)
            forkable.before_fork(until)


def _in_parent() -> None:
    fork = _mine.forks.pop()
    try:
        for forkable in fork.told:
            forkable.after_fork_in_parent()
    finally:
        if fork.is_alone:
            _forking.release()


def _in_child() -> None:
    global _forking
    _forking = threading.Lock()
    _mine.forks.pop()
    for interrupted in _mine.forks:
        interrupted.told, interrupted.is_alone = [], False
    for forkable in list(_forkables):
        forkable.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
