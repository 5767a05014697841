"""What must happen around a fork, so that a child neither uses nor harms an inherited log.

Before the fork every log waits until none of its threads is inside the storage's library, whose
own locks a child would otherwise inherit held, by threads that it does not have, and closes its
files. Parent and child each open their own when they next need them.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Something with threads, locks or handles that mean nothing in a forked child."""

    def before_fork(self) -> None:
        """Wait until nothing is under way, and keep it so."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget threads, locks and handles of the parent, without closing them."""
        ...


_forkables: WeakSet[Forkable] = WeakSet()
_waiting: list[Forkable] = []


def watch_forks(forkable: Forkable) -> None:
    """Have it told of every fork of this process, for as long as it lives."""
    _forkables.add(forkable)


def _before() -> None:
    _waiting[:] = list(_forkables)
    for forkable in _waiting:
        forkable.before_fork()


def _in_parent() -> None:
    for forkable in _waiting:
        forkable.after_fork_in_parent()
    _waiting.clear()


def _in_child() -> None:
    for forkable in _waiting:
        forkable.after_fork_in_child()
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
