"""A remote log in the asynchronous colour: its calls run in threads.

The states that the tasks of one turn of an event loop ask for are read in one trip.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeAlias, TypeVar

from sessionledger.background import drop_ended, running_loop
from sessionledger.errors import LogTimeout, StoreClosed
from sessionledger.logs.adapters.committing_thread import LoopLog
from sessionledger.logs.base import KeyState, Log, RemoteLog
from sessionledger.logs.concurrency.group_commit import GRACE_SECONDS

T = TypeVar("T")
P = ParamSpec("P")

States: TypeAlias = dict[bytes, KeyState | None]
Place: TypeAlias = tuple[asyncio.AbstractEventLoop, str]

THREADS = 16
TRIPS = 4
"""How many of them read states, for each loop and topic."""
LATE = "all threads wait for the server, and the time to wait for one is over; try again"


class RemoteLoopLog(LoopLog):
    """A remote log for event loops: each call waits in one of a few threads.

    Appends go to the committing thread.
    """

    poll_seconds = 0.05
    threads, calls = THREADS, THREADS - TRIPS
    # While the server works, the loop prepares the next ones.
    handful = 32

    def __init__(self, log: Log, remote: RemoteLog) -> None:
        """remote: the same log."""
        self._remote = remote
        super().__init__(log)

    def _begin(self) -> None:
        super()._begin()
        patience = self.log.timeout + GRACE_SECONDS
        self._states = _BatchedReads(self._remote, self._threads, patience)

    _look_up = LoopLog.call

    def state(self, topic: str, key: bytes) -> Coroutine[Any, Any, KeyState | None]:
        return self._states.ask(topic, key)

    def _stop(self) -> None:
        super()._stop()
        ending = Thread(target=self._threads.shutdown, name="sessionledger-end", daemon=True)
        ending.start()
        ending.join(self.log.timeout + GRACE_SECONDS)


class _Asked:
    """A state that tasks of a loop ask for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[KeyState | None] = loop.create_future()
        self.askers = 0


class Batch(dict[bytes, _Asked]):
    """What is read in one trip, by its key. timer: ends its wait for the trips of others."""

    timer: asyncio.TimerHandle | None = None


class _BatchedReads:
    """States that the tasks of one turn of an event loop ask for, read in one trip."""

    def __init__(self, log: RemoteLog, threads: ThreadPoolExecutor, patience: float) -> None:
        """patience: how many seconds a batch waits until it is read."""
        self._log = log
        self._patience = patience
        self._threads = threads
        self._gathered: dict[Place, Batch] = {}
        self._trips: Counter[Place] = Counter()

    async def ask(self, topic: str, key: bytes) -> KeyState | None:
        """What `Log.state` answers."""
        loop = running_loop()
        batch = self._gathered.get((loop, topic))
        if batch is None:
            drop_ended(self._gathered)
            drop_ended(self._trips)
            batch = self._gathered[loop, topic] = Batch()
            loop.call_soon(self._hand_over, (loop, topic))
            if self._trips[loop, topic] >= TRIPS:
                batch.timer = loop.call_later(self._patience, self._give_up, (loop, topic), batch)
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

    def _give_up(self, place: Place, batch: Batch) -> None:
        """Let nobody wait longer for the trips of others, and for its own after them."""
        if self._gathered.get(place) is batch:
            del self._gathered[place]
        _resolve(batch, LogTimeout(LATE))

    def _answered(self, place: Place, batch: Batch, answer: asyncio.Future[States]) -> None:
        self._trips[place] -= 1
        if not self._trips[place]:
            del self._trips[place]
        error = answer.exception()
        _resolve(batch, answer.result() if error is None else error)
        self._hand_over(place)


def _resolve(batch: Batch, told: States | BaseException) -> None:
    if batch.timer is not None:
        batch.timer.cancel()
    for key, asked in batch.items():
        if asked.answer.done():
            continue
        if isinstance(told, BaseException):
            asked.answer.set_exception(told)
        else:
            asked.answer.set_result(told[key])


def for_loops(log: Log) -> LoopLog:
    """A log in its asynchronous colour."""
    return RemoteLoopLog(log, log) if isinstance(log, RemoteLog) else LoopLog(log)
