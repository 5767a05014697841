"""A remote log in the asynchronous colour: its calls run in threads.

The states that the tasks of one turn of an event loop ask for are read in one trip.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeAlias, TypeVar

from sessionledger.errors import StoreClosed
from sessionledger.logs.adapters.committing_thread import LoopLog
from sessionledger.logs.base import KeyState, Log, RemoteLog

T = TypeVar("T")
P = ParamSpec("P")

States: TypeAlias = dict[bytes, KeyState | None]
Place: TypeAlias = tuple[asyncio.AbstractEventLoop, str]

THREADS = 16
TRIPS = 4
"""How many of them read states, for each loop and topic."""


class RemoteLoopLog(LoopLog):
    """A remote log for event loops: each call waits in one of a few threads.

    Appends go to the committing thread.
    """

    poll_seconds = 0.05
    threads, calls = THREADS, THREADS - TRIPS

    def __init__(self, log: Log, remote: RemoteLog) -> None:
        """remote: the same log."""
        self._remote = remote
        super().__init__(log)

    def _begin(self) -> None:
        super()._begin()
        self._states = _BatchedReads(self._remote, self._threads)

    _look_up = LoopLog._call  # noqa: SLF001

    def state(self, topic: str, key: bytes) -> Coroutine[Any, Any, KeyState | None]:
        return self._states.ask(topic, key)

    async def detach(self) -> None:
        await super().detach()
        await asyncio.to_thread(self._threads.shutdown)


class _Asked:
    """A state that tasks of a loop ask for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[KeyState | None] = loop.create_future()
        self.askers = 0


Batch: TypeAlias = dict[bytes, _Asked]


class _BatchedReads:
    """States that the tasks of one turn of an event loop ask for, read in one trip."""

    def __init__(self, log: RemoteLog, threads: ThreadPoolExecutor) -> None:
        self._log = log
        self._threads = threads
        self._gathered: dict[Place, Batch] = {}
        self._trips: Counter[Place] = Counter()

    async def ask(self, topic: str, key: bytes) -> KeyState | None:
        """What `Log.state` answers."""
        loop = asyncio.get_running_loop()
        batch = self._gathered.get((loop, topic))
        if batch is None:
            batch = self._gathered[loop, topic] = {}
            loop.call_soon(self._hand_over, (loop, topic))
        asked = batch.get(key)
        if asked is None:
            asked = batch[key] = _Asked(loop)
        asked.askers += 1
        try:
            # Others may wait for the same.
            return await asyncio.shield(asked.answer)
        except asyncio.CancelledError:
            asked.askers -= 1
            if not asked.askers:
                batch.pop(key, None)
            raise

    def _hand_over(self, place: Place) -> None:
        """Read what was gathered. If too many trips are under way, the next one that ends does."""
        if not self._gathered.get(place) or self._trips[place] >= TRIPS:
            return
        batch = self._gathered.pop(place)
        loop, topic = place
        try:
            answer = loop.run_in_executor(self._threads, self._log.states, topic, list(batch))
        except RuntimeError:
            _resolve(batch, StoreClosed("the log is closed"))
        else:
            self._trips[place] += 1
            answer.add_done_callback(partial(self._answered, place, batch))

    def _answered(self, place: Place, batch: Batch, answer: asyncio.Future[States]) -> None:
        self._trips[place] -= 1
        if not self._trips[place]:
            del self._trips[place]
        error = answer.exception()
        _resolve(batch, answer.result() if error is None else error)
        self._hand_over(place)


def _resolve(batch: Batch, told: States | BaseException) -> None:
    for key, asked in batch.items():
        if isinstance(told, BaseException):
            asked.answer.set_exception(told)
        else:
            asked.answer.set_result(told[key])


def for_loops(log: Log) -> LoopLog:
    """A log in its asynchronous colour."""
    return RemoteLoopLog(log, log) if isinstance(log, RemoteLog) else LoopLog(log)
