"""Threads that are greenlets, in a process that gevent has patched.

`gevent.monkey.patch_all()` replaces threads, locks, queues and sleeping. A greenlet that waits for
a native lock stops its whole thread, in which the lock's owner may run too. So:

- Whoever waits for a call of a log waits for a lock that is made for it then, by gevent's class.
- What waits for the system runs in a native thread. It uses the native functions below, and no
  greenlet waits for its locks while another one has them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sessionledger.errors import UnsupportedRuntime

T = TypeVar("T")

Beside: TypeAlias = Callable[[Callable[[], Any]], Any]
"""Makes a call, and answers what it answers."""


if TYPE_CHECKING:
    from _thread import allocate_lock as allocate_lock
    from _thread import get_ident as get_ident
    from _thread import start_new_thread as start_new_thread
    from threading import local as local
    from time import sleep as sleep
else:
    from importlib import import_module

    _of = getattr(
        sys.modules.get("gevent.monkey"),
        "get_original",
        lambda of, name: getattr(import_module(of), name),
    )
    allocate_lock, get_ident = _of("_thread", "allocate_lock"), _of("_thread", "get_ident")
    start_new_thread = _of("_thread", "start_new_thread")
    local, sleep = _of("threading", "local"), _of("time", "sleep")


class _Here(local):
    is_beside = False


_here = _Here()


def are_greenlets(module: str = "threading") -> bool:
    """Whether gevent has replaced the threads of this process, or another module."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched(module))


def _patched() -> set[bool]:
    return set(map(are_greenlets, ("threading", "queue", "select", "time")))


_patched_before = _patched()


def check_patched() -> None:
    """Raises `UnsupportedRuntime` if gevent has patched the process since this was imported, or
    only in part. For what waits by gevent's functions: all of them must be gevent's."""
    if "gevent.monkey" in sys.modules and not _patched() == _patched_before < {True, False}:
        raise UnsupportedRuntime(
            "gevent has patched this process after sessionledger was imported, or only in part; "
            "nothing was written. Call gevent.monkey.patch_all() before the import. With "
            "gunicorn --preload, call it at the top of gunicorn.conf.py"
        )


def in_place(call: Callable[[], T]) -> T:
    """The answer of a call."""
    return call()


def beside_greenlets(call: Callable[[], T]) -> T:
    """The answer of a call that the system may keep waiting. A native thread makes it.

    A greenlet that is killed meanwhile ends once the call is over.
    """
    if "gevent.monkey" not in sys.modules or _here.is_beside or not are_greenlets():
        return call()
    import gevent

    def beside() -> T:
        _here.is_beside = True
        try:
            return call()
        finally:
            _here.is_beside = False

    return _awaited(gevent.get_hub().threadpool.spawn(beside))  # type: ignore[no-any-return]


def in_own_greenlet(call: Callable[[], T]) -> T:
    """The same for a call that waits as greenlets do. A greenlet of its own makes it."""
    if "gevent.monkey" not in sys.modules or not are_greenlets():
        return call()
    import gevent

    return _awaited(gevent.spawn(call))  # type: ignore[no-any-return]


def _awaited(answer: Any) -> Any:
    import gevent

    interruption: BaseException | None = None
    while not answer.ready():
        try:
            gevent.wait([answer])
        except BaseException as error:  # noqa: BLE001  raised once the call is over
            interruption = error
    if interruption is not None:
        raise interruption
    return answer.get()
