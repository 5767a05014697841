"""A remote log in the asynchronous colour: its calls run in threads.

The states that the tasks of one turn of an event loop ask for are read in one trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeAlias, TypeVar

from sessionledger.errors import StoreClosed
from sessionledger.logs.adapters.committing_thread import LoopLog
from sessionledger.logs.base import (
    KeyState,
    Log,
    RemoteLog,
    Row,
)
from sessionledger.logs.concurrency.forking import watch_forks

T = TypeVar("T")
P = ParamSpec("P")

States: TypeAlias = dict[bytes, KeyState | None]
Asked: TypeAlias = dict[bytes, asyncio.Future[KeyState | None]]

THREADS = 16


class RemoteLoopLog(LoopLog):
    """A remote log for event loops: each call waits in one of a few threads.

    Appends go to the committing thread.
    """

    poll_seconds = 0.05

    def __init__(self, log: Log, remote: RemoteLog) -> None:
        """remote: the same log."""
        super().__init__(log)
        self._remote = remote
        self._begin()
        watch_forks(self)

    def _begin(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "sessionledger-read")
        self._states = _BatchedReads(self._remote, self._threads)

    def before_fork(self) -> None:
        """Nothing: no lock is held between two calls."""

    def after_fork_in_parent(self) -> None:
        """Nothing."""

    def after_fork_in_child(self) -> None:
        # The threads of the parent are not here.
        self._begin()

    async def _call(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(call, *given, **named))

    _look_up = _call

    async def row(self, topic: str, key: bytes) -> Row | None:
        return await self._call(self.log.row, topic, key)

    def state(self, topic: str, key: bytes) -> Coroutine[Any, Any, KeyState | None]:
        return self._states.ask(topic, key)

    async def detach(self) -> None:
        await super().detach()
        await asyncio.to_thread(self._threads.shutdown)


class _BatchedReads:
    """States that the tasks of one turn of an event loop ask for, read in one trip."""

    def __init__(self, log: RemoteLog, threads: ThreadPoolExecutor) -> None:
        self._log = log
        self._threads = threads
        self._gathered: dict[tuple[asyncio.AbstractEventLoop, str], Asked] = {}

    async def ask(self, topic: str, key: bytes) -> KeyState | None:
        """What `Log.state` answers."""
        loop = asyncio.get_running_loop()
        asked = self._gathered.get((loop, topic))
        if asked is None:
            asked = self._gathered[loop, topic] = {}
            loop.call_soon(self._hand_over, loop, topic)
        if key not in asked:
            asked[key] = loop.create_future()
        # Others may wait for the same.
        return await asyncio.shield(asked[key])

    def _hand_over(self, loop: asyncio.AbstractEventLoop, topic: str) -> None:
        asked = self._gathered.pop((loop, topic))
        try:
            answer = loop.run_in_executor(self._threads, self._log.states, topic, list(asked))
        except RuntimeError:
            _resolve(asked, StoreClosed("the log is closed"))
        else:
            answer.add_done_callback(partial(_resolve_by, asked))


def _resolve_by(asked: Asked, answer: asyncio.Future[States]) -> None:
    error = answer.exception()
    _resolve(asked, answer.result() if error is None else error)


def _resolve(asked: Asked, told: States | BaseException) -> None:
    for key, future in asked.items():
        if isinstance(told, BaseException):
            future.set_exception(told)
        else:
            future.set_result(told[key])


def for_loops(log: Log) -> LoopLog:
    """A log in its asynchronous colour."""
    return RemoteLoopLog(log, log) if isinstance(log, RemoteLog) else LoopLog(log)
