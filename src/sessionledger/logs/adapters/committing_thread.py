"""A log for event loops: one committing thread makes the appends of all loops.

It takes all appends that wait at a time, and wakes each event loop once. Reads run in the loop,
since a read of an embedded log takes microseconds. Those that would have to wait take a thread.
There are few threads: while the log stands still, further calls wait in the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any, ParamSpec, TypeVar

import msgspec

from sessionledger.background import drop_ended, in_own_thread, running_loop
from sessionledger.errors import LogTimeout, LogUnavailable, StoreClosed
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.adapters.loop_waiters import LoopWaiters
from sessionledger.logs.base import KeyState, Log, Outcome, Row, Unit
from sessionledger.logs.concurrency.forking import Forkable, watch_forks
from sessionledger.logs.concurrency.greenlets import check_patched
from sessionledger.logs.concurrency.group_commit import GRACE_SECONDS, UNKNOWN, by_topic, dealt
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.concurrency.waiting import POLL_SECONDS, having_waited

A = TypeVar("A")
T = TypeVar("T")
P = ParamSpec("P")

MAX_WAITING = 10_000
"""How many appends wait for a log that stands still: those that were given up wait too."""


class LoopLog(ImmediateLog, Forkable):
    """An embedded log for event loops: one, or several in several threads.

    Calls that would block a loop run in threads: those that flush, walk the log, or count. All
    others run in the loop. threads: how many there are; calls: how many a loop may occupy.
    handful: how many appends the loop gathers before it lets the committing thread begin.
    """

    poll_seconds = POLL_SECONDS
    threads = calls = 4
    # No fewer than there are: two threads that want the interpreter at the same time wait for each
    # other at every statement.
    handful = MAX_WAITING

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._committer = _Committer(log, self.handful)
        self._waiters = LoopWaiters(self.latest, self.poll_seconds)
        self._begin()
        watch_forks(self)

    def _begin(self) -> None:
        self._threads = ThreadPoolExecutor(self.threads, "sessionledger-call")
        self._slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def after_fork_in_child(self) -> None:
        # The threads of the parent are not here.
        self._begin()

    def append(self, topic: str, units: Sequence[Unit]) -> Coroutine[Any, Any, list[Outcome]]:
        # The committer's coroutine itself: every append would pay for one around it.
        return self._committer.append(topic, units)

    async def call(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        loop = running_loop()
        slots = self._slots.get(loop)
        if slots is None:
            drop_ended(self._slots)
            slots = self._slots[loop] = asyncio.Semaphore(self.calls)
        begun = monotonic()
        try:
            async with asyncio.timeout(self.log.timeout if slots.locked() else None):
                await slots.acquire()
        except TimeoutError:
            raise LogTimeout("other calls occupy all threads for the ledger; try again") from None
        work = partial(having_waited, monotonic() - begun, partial(call, *given, **named))
        try:
            answer = loop.run_in_executor(self._threads, work)
        except RuntimeError:
            slots.release()
            raise StoreClosed("the log is closed") from None
        answer.add_done_callback(lambda _: slots.release())
        # A caller that gives up does not free the thread.
        return await asyncio.shield(answer)

    async def _look_up(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        try:
            return call(*given, **named)
        except LogTimeout:
            # It has to write first: rows of what others appended.
            return await self.call(call, *given, **named)

    async def mark(self, topic: str) -> int:
        return await self._look_up(self.log.mark, topic)

    async def row(self, topic: str, key: bytes) -> Row | None:
        return await self._look_up(self.log.row, topic, key)

    def state(self, topic: str, key: bytes) -> Coroutine[Any, Any, KeyState | None]:
        return self._look_up(self.log.state, topic, key)

    async def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return await self._waiters.wait_above(topic, after, timeout)

    async def close(self) -> None:
        # In one call, which goes on if the loop ends meanwhile.
        self._waiters.close()
        await in_own_thread(self._close)

    async def detach(self) -> None:
        """End the threads once they have nothing to do; the log stays open."""
        self._waiters.close()
        await in_own_thread(self._stop)

    def _close(self) -> None:
        self._stop()
        self.log.close()

    def _stop(self) -> None:
        self._committer.stop()
        self._threads.shutdown(wait=False)


class _Waiting(msgspec.Struct, gc=False):
    """An append that a task waits for, until `time.monotonic` says so."""

    topic: str
    units: Sequence[Unit]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Outcome]]
    until: float


class _Committer:
    """The committing thread, started by the first append."""

    def __init__(self, log: Log, handful: int) -> None:
        self._log = log
        self._handful = handful
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

    def before_fork(self, until: float) -> None:
        self._mutex.hold(until)

    def after_fork_in_parent(self) -> None:
        self._mutex.let_go()

    def after_fork_in_child(self) -> None:
        self._begin()

    async def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        loop = running_loop()
        timeout = self._log.timeout
        waiting = _Waiting(topic, units, loop, loop.create_future(), monotonic() + timeout)
        with self._mutex:
            if self._waiting >= MAX_WAITING:
                raise LogUnavailable(f"{MAX_WAITING} appends wait for the log: try again later")
            if self._thread is None:
                self._start()
            self._waiting += 1
            gathered = self._gathered.get(loop)
            if gathered is None:
                for left in drop_ended(self._gathered):
                    self._queue.put(left)
                loop.call_soon(self._hand_over, loop)
                gathered = self._gathered[loop] = []
            gathered.append(waiting)
            is_handful = len(gathered) >= self._handful
            if is_handful:
                self._queue.put(gathered)
                self._gathered[loop] = []
        if is_handful:
            sleep(0)  # noqa: ASYNC251  the thread takes the interpreter, and sends them
        # The thread answers in time, unless it stands still itself: the disk may.
        late = LogUnavailable(UNKNOWN)
        timer = loop.call_later(timeout + 2 * GRACE_SECONDS, _reject, (waiting, late))
        try:
            # A cancelled caller gives up the answer, not the append.
            return await waiting.future
        finally:
            timer.cancel()

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
            thread.join(self._log.timeout + GRACE_SECONDS)
            if thread.is_alive():
                raise LogUnavailable(UNKNOWN)

    def _start(self) -> None:
        if self._stopped:
            raise _closed()
        check_patched()
        self._thread = threading.Thread(target=self._run, name="sessionledger-commit", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        running = True
        while running:
            batches = [self._queue.get()]
            while not self._queue.empty():
                batches.append(self._queue.get())
            running = None not in batches
            waiting = [waiting for batch in batches if batch for waiting in batch]
            self._commit(waiting)
            with self._mutex:
                self._waiting -= len(waiting)

    def _commit(self, batch: list[_Waiting]) -> None:
        for topic, group in by_topic(batch).items():
            units, until = [unit for w in group for unit in w.units], group[0].until
            try:
                outcomes = self._log.append(topic, units, until)
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
