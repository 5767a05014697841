"""A call in a thread of its own. Others may occupy all threads of an event loop, however long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


async def in_own_thread(call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """The answer of a call. The call goes on if its caller is cancelled."""
    thread = ThreadPoolExecutor(1, "sessionledger-call")
    loop = asyncio.get_running_loop()
    answer = loop.run_in_executor(thread, partial(call, *given, **named))
    thread.shutdown(wait=False)
    return await answer
