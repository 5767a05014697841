"""An asynchronous log in the synchronous colour: its coroutines run on one background loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from sessionledger.errors import StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs.base import (
    ALL_ROWS,
    AsyncLog,
    Check,
    Description,
    Fold,
    KeyState,
    Outcome,
    Progress,
    Row,
    RowFilter,
    StoredEvent,
    Unit,
)
from sessionledger.logs.concurrency.forking import watch_forks
from sessionledger.logs.concurrency.locks import Lock

T = TypeVar("T")


class BlockingLog:
    """A `Log` that passes every call on to an `AsyncLog`, which lives on a loop in a thread.

    If a caller is interrupted, it loses the answer, and the call goes on.
    """

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, AsyncLog]]) -> None:
        self._closed = False
        # Never closed in a forked child: that would take the parent's loop from its selector.
        self._inherited: list[asyncio.AbstractEventLoop] = []
        self._begin()
        try:
            self.log = self.run(connect())
        except BaseException:
            self._stop()
            raise
        watch_forks(self)

    def _begin(self) -> None:
        # A signal handler may fork while its own thread has it.
        self._mutex = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def before_fork(self) -> None:
        self._mutex.acquire()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        if self._loop is not None:
            self._inherited.append(self._loop)
        self._begin()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine answers, run on the loop of the log."""
        try:
            with self._mutex:
                answer = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        except StoreClosed:
            coroutine.close()
            raise
        return answer.result()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise StoreClosed("the log is closed")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name="sessionledger-loop", daemon=True
            )
            self._thread.start()
        return self._loop

    def _stop(self) -> None:
        """End the loop once all that was called has answered."""
        with self._mutex:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def close(self) -> None:
        try:
            self.run(self.log.close())
        except StoreClosed:
            return
        finally:
            self._stop()

    def fold_with(self, topic: str, fold: Fold) -> None:
        self.log.fold_with(topic, fold)

    def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        return self.run(self.log.append(topic, units))

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        return self.run(self.log.read(topic, after, limit))

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        return self.run(self.log.read_key(topic, key, after, limit))

    def latest(self, topic: str) -> int:
        return self.run(self.log.latest(topic))

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return self.run(self.log.wait(topic, after, timeout))

    def row(self, topic: str, key: bytes) -> Row | None:
        return self.run(self.log.row(topic, key))

    def state(self, topic: str, key: bytes) -> KeyState | None:
        return self.run(self.log.state(topic, key))

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        return self.run(self.log.rows(topic, where, after, limit))

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        return self.run(self.log.count(topic, where))

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        return self.run(self.log.rebuild(topic, progress))

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        self.run(self.log.ack(topic, consumer, cursor))

    def cursor(self, topic: str, consumer: str) -> int:
        return self.run(self.log.cursor(topic, consumer))

    def topics(self) -> list[str]:
        return self.run(self.log.topics())

    def describe(self) -> Description:
        return self.run(self.log.describe())

    def examine(self, topic: str, check: Check) -> list[Finding]:
        return self.run(self.log.examine(topic, check))

    def flush(self) -> None:
        self.run(self.log.flush())


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped, then let what is under way answer."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
