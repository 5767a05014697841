"""A log for event loops: one committing thread makes the appends of all loops.

It takes all appends that wait at a time, and wakes each event loop once. Reads run in the loop,
since a read of an embedded log takes microseconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import msgspec

from sessionledger.errors import LogUnavailable, StoreClosed
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.adapters.loop_waiters import LoopWaiters
from sessionledger.logs.base import (
    Log,
    Outcome,
    Unit,
)
from sessionledger.logs.concurrency.forking import watch_forks
from sessionledger.logs.concurrency.group_commit import by_topic, dealt
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.concurrency.waiting import POLL_SECONDS

A = TypeVar("A")
T = TypeVar("T")
P = ParamSpec("P")

MAX_WAITING = 10_000
"""How many appends wait for a log that stands still: those that were given up wait too."""


class LoopLog(ImmediateLog):
    """An embedded log for event loops: one, or several in several threads.

    Calls that would block a loop run in threads: those that flush, walk the log, or count. All
    others run in the loop.
    """

    poll_seconds = POLL_SECONDS

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._committer = _Committer(log)
        self._waiters = LoopWaiters(self.latest, self.poll_seconds)

    def append(self, topic: str, units: Sequence[Unit]) -> Coroutine[Any, Any, list[Outcome]]:
        # The committer's coroutine itself: every append would pay for one around it.
        return self._committer.append(topic, units)

    async def _call(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(call, *given, **named)

    async def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return await self._waiters.wait_above(topic, after, timeout)

    async def close(self) -> None:
        await self.detach()
        await asyncio.to_thread(self.log.close)

    async def detach(self) -> None:
        """End the committing thread once it has nothing to do; the log stays open."""
        self._waiters.close()
        await asyncio.to_thread(self._committer.stop)


class _Waiting(msgspec.Struct, gc=False):
    """An append that a task waits for."""

    topic: str
    units: Sequence[Unit]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Outcome]]


class _Committer:
    """The committing thread, started by the first append."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._begin()
        watch_forks(self)

    def _begin(self) -> None:
        self._queue: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        self._waiting = 0
        # A signal handler may fork while its own thread has it.
        self._mutex = Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def before_fork(self) -> None:
        self._mutex.acquire()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        self._begin()

    async def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(topic, units, loop, loop.create_future())
        with self._mutex:
            if self._waiting >= MAX_WAITING:
                raise LogUnavailable(f"{MAX_WAITING} appends wait for the log: try again later")
            if self._thread is None:
                self._start()
            self._waiting += 1
            gathered = self._gathered.get(loop)
            if gathered is None:
                loop.call_soon(self._hand_over, loop)
                gathered = self._gathered[loop] = []
            gathered.append(waiting)
        # A cancelled caller gives up the answer, not the append.
        return await waiting.future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass on to the thread, together, what the tasks of this turn of the loop append."""
        with self._mutex:
            self._queue.put(self._gathered.pop(loop, []))

    def stop(self) -> None:
        """Commit all that was appended, then end the thread. Later appends are refused."""
        with self._mutex:
            self._stopped = True
            for gathered in self._gathered.values():
                self._queue.put(gathered)
            self._gathered.clear()
            self._queue.put(None)
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        if self._stopped:
            raise _closed()
        self._thread = threading.Thread(target=self._run, name="sessionledger-commit", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        running = True
        while running:
            batches = [self._queue.get()]
            while not self._queue.empty():
                batches.append(self._queue.get())
            running = None not in batches
            # All that waits, never a part of it: two threads that want the interpreter at the same
            # time wait for each other at every statement.
            waiting = [waiting for batch in batches if batch for waiting in batch]
            self._commit(waiting)
            with self._mutex:
                self._waiting -= len(waiting)

    def _commit(self, batch: list[_Waiting]) -> None:
        for topic, group in by_topic(batch).items():
            try:
                outcomes = self._log.append(topic, [unit for w in group for unit in w.units])
            except Exception as error:  # noqa: BLE001  whoever waits gets it
                self._refuse(group, error)
            else:
                _deliver(group, outcomes)

    def _refuse(self, group: list[_Waiting], error: Exception) -> None:
        """Commit those that were refused together one by one: one may be at fault for all."""
        if len(group) == 1 or not isinstance(error, ValueError):
            _fail(group, error)
            return
        for waiting in group:
            self._commit([waiting])


def _closed() -> StoreClosed:
    return StoreClosed("the store is closed")


def _deliver(group: list[_Waiting], outcomes: list[Outcome]) -> None:
    answers: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, list[Outcome]]]] = {}
    for waiting, own in dealt(outcomes, group):
        answers.setdefault(waiting.loop, []).append((waiting, own))
    for loop, answered in answers.items():
        _call(loop, _resolve, answered)


def _resolve(answered: list[tuple[_Waiting, list[Outcome]]]) -> None:
    for waiting, outcomes in answered:
        if not waiting.future.done():
            waiting.future.set_result(outcomes)


def _fail(group: list[_Waiting], error: Exception) -> None:
    for waiting in group:
        _call(waiting.loop, _reject, (waiting, error))


def _reject(refused: tuple[_Waiting, Exception]) -> None:
    waiting, error = refused
    if not waiting.future.done():
        waiting.future.set_exception(error)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[A], None], argument: A) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        # The loop was closed while it waited; its append is committed all the same.
        return
