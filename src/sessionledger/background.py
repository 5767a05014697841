"""The event loop that runs here, and calls in a thread of their own.

Others may occupy all threads of an event loop, however long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from sessionledger.errors import UnsupportedRuntime

T = TypeVar("T")
P = ParamSpec("P")


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop of the calling task. Raises `UnsupportedRuntime` without one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise UnsupportedRuntime(
            "AsyncSessionStore needs an asyncio event loop, and none runs here; nothing was "
            "written. Under trio, call a SessionStore in threads: "
            "await trio.to_thread.run_sync(store.get, token)"
        ) from None


def drop_ended(kept: dict[Any, T]) -> list[T]:
    """Remove what is kept for event loops that were closed. A key is a loop, or begins with one."""
    ended = [key for key in list(kept) if (key[0] if isinstance(key, tuple) else key).is_closed()]
    return [left for key in ended if (left := kept.pop(key, None)) is not None]


async def in_own_thread(call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """The answer of a call. The call goes on if its caller is cancelled."""
    loop = running_loop()
    thread = ThreadPoolExecutor(1, "sessionledger-call")
    answer = loop.run_in_executor(thread, partial(call, *given, **named))
    thread.shutdown(wait=False)
    return await answer
