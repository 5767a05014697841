"""A log in the asynchronous colour, without a loop and without a thread.

Its coroutines finish without suspending, so the sync store can drive them in place.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

from sessionledger.findings import Finding
from sessionledger.logs.base import (
    ALL_ROWS,
    Check,
    Description,
    Fold,
    KeyState,
    Log,
    Outcome,
    Progress,
    Row,
    RowFilter,
    StoredEvent,
    Unit,
)
from sessionledger.logs.concurrency.waiting import NOTICE_SECONDS

T = TypeVar("T")
P = ParamSpec("P")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    raise AssertionError("an embedded log suspended")


class ImmediateLog:
    """What `Log` answers, as coroutines. Here they finish without suspending.

    A subclass says where calls are made that embedded logs answer at once, and where the others
    are, which flush, walk the log, or count.
    """

    def __init__(self, log: Log) -> None:
        self.log = log

    async def _look_up(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """The answer of a call that an embedded log answers within microseconds."""
        return call(*given, **named)

    async def call(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """The answer of a call that may take longer, or that not every log offers."""
        return call(*given, **named)

    def fold_with(self, topic: str, fold: Fold) -> None:
        self.log.fold_with(topic, fold)

    async def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        return self.log.append(topic, units)

    async def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        return await self.call(self.log.read, topic, after, limit)

    async def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        return await self.call(self.log.read_key, topic, key, after, limit)

    async def latest(self, topic: str) -> int:
        return await self._look_up(self.log.latest, topic)

    async def mark(self, topic: str) -> int:
        return self.log.mark(topic)

    async def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        # Nothing wakes a thread when its store is closed.
        return self.log.wait(
            topic, after, NOTICE_SECONDS if timeout is None else min(timeout, NOTICE_SECONDS)
        )

    async def row(self, topic: str, key: bytes) -> Row | None:
        return self.log.row(topic, key)

    async def state(self, topic: str, key: bytes) -> KeyState | None:
        return self.log.state(topic, key)

    async def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        return await self._look_up(self.log.rows, topic, where, after, limit)

    async def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        return await self.call(self.log.count, topic, where)

    async def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        return await self.call(self.log.rebuild, topic, progress)

    async def ack(self, topic: str, consumer: str, cursor: int) -> None:
        await self.call(self.log.ack, topic, consumer, cursor)

    async def cursor(self, topic: str, consumer: str) -> int:
        return await self._look_up(self.log.cursor, topic, consumer)

    async def topics(self) -> list[str]:
        return await self._look_up(self.log.topics)

    async def describe(self) -> Description:
        return await self._look_up(self.log.describe)

    async def examine(self, topic: str, check: Check) -> list[Finding]:
        return await self.call(self.log.examine, topic, check)

    async def flush(self) -> None:
        await self.call(self.log.flush)

    async def close(self) -> None:
        self.log.close()
