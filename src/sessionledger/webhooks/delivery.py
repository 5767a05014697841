"""Delivery to one endpoint: every event that it wants, in order, at least once.

The cursor is kept in the ledger and moves when the endpoint accepted a message. Other messages are
sent again, also by another process. Later messages wait for an earlier one. After the last attempt
the endpoint is disabled, and its cursor stays.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar

import anyio
import httpcore
import msgspec

from sessionledger import (
    AsyncSessionStore,
    CaughtUp,
    HistoryCut,
    HistoryEntry,
    LedgerRestored,
    Log,
    LogTimeout,
)
from sessionledger.webhooks.attempts import attempt, pool_for
from sessionledger.webhooks.endpoints import Endpoint, Endpoints, disabled, failed, succeeded
from sessionledger.webhooks.messages import body_of, type_of

MINUTE, HOUR = 60.0, 3600.0
RETRY_DELAYS = (5.0, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR)
"""Seconds before each further attempt, as Standard Webhooks proposes."""

ACK_EVERY = 1000
"""The cursor also moves after so many events that the endpoint does not want."""

P = ParamSpec("P")
T = TypeVar("T")

# Whoever shares the loop's own threads would wait for a ledger that stands still, and for names.
_threads = ThreadPoolExecutor(4, "sessionledger-webhook")
_GRACE_SECONDS = 1.0
_logger = logging.getLogger("sessionledger.webhooks")
_GONE = 410
_JITTER = 0.1
_HEARTBEAT = timedelta(seconds=1)


class Source(NamedTuple):
    """What is delivered, and to whom: a store on a topic of a log, and the log's endpoints.

    retry_delays: seconds before each further attempt; after the last an endpoint is disabled.
    """

    store: AsyncSessionStore
    log: Log
    topic: str
    endpoints: Endpoints
    retry_delays: Sequence[float] = RETRY_DELAYS

    async def call(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """The answer of a call that may wait. Raises `LogTimeout` as well if no thread is free."""
        answer = asyncio.get_running_loop().run_in_executor(
            _threads, partial(call, *given, **named)
        )
        try:
            async with asyncio.timeout(self.log.timeout + _GRACE_SECONDS):
                return await answer
        except TimeoutError:
            raise LogTimeout("other webhooks wait for the ledger; this one tries again") from None


class Delivery:
    """Delivers the events of a source to one endpoint."""

    def __init__(self, source: Source, endpoint: Endpoint) -> None:
        self._source = source
        self._endpoint = endpoint
        self._acknowledged = 0

    def must_restart(self, endpoint: Endpoint) -> bool:
        """Whether it was enabled again, and must not wait, or has a new secret."""
        is_enabled = self._endpoint.failures > 0 and endpoint.failures == 0
        return is_enabled or self._endpoint.secret != endpoint.secret

    async def run(self) -> None:
        """Deliver until the endpoint is disabled or the task is cancelled."""
        source = self._source
        self._acknowledged = await source.call(
            source.log.cursor, source.topic, self._endpoint.consumer
        )
        async with pool_for(self._endpoint) as pool:
            while True:
                try:
                    if not await self._deliver_all(pool):
                        return
                except HistoryCut as lost:
                    # Somebody gave it up, so that a compaction need not wait for it.
                    name, cut = self._endpoint.id, lost.cut
                    _logger.warning("webhook %s never got events up to %d: removed", name, cut)
                    await self._acknowledge(cut)
                except LedgerRestored as lost:
                    _logger.warning("webhook %s got events that are lost", self._endpoint.id)
                    self._acknowledged = lost.after

    async def _deliver_all(self, pool: httpcore.AsyncConnectionPool) -> bool:
        """Deliver all that happens; False once the endpoint is disabled."""
        async for event in self._events():
            if isinstance(event, CaughtUp):
                await self._acknowledge(event.cursor)
            elif not await self._deliver(pool, event):
                return False
        return True

    def _events(self) -> AsyncIterator[HistoryEntry | CaughtUp]:
        return self._source.store.watch(after=self._acknowledged, heartbeat=_HEARTBEAT)

    async def _deliver(self, pool: httpcore.AsyncConnectionPool, entry: HistoryEntry) -> bool:
        """Whether to go on: the endpoint accepted the message, or does not want it."""
        if not self._endpoint.wants(type_of(entry), entry.principal):
            if entry.event_id - self._acknowledged >= ACK_EVERY:
                await self._acknowledge(entry.event_id)
            return True
        body, id = body_of(entry), f"msg_{self._endpoint.id}_{entry.event_id}"
        while (problem := (await attempt(pool, self._endpoint, id, body)).problem) is not None:
            if not await self._may_try_again(problem):
                return False
        await self._acknowledge(entry.event_id)
        if self._endpoint.failures:
            await self._record(succeeded(self._endpoint))
        return True

    async def _may_try_again(self, problem: str) -> bool:
        """Record the failure, and wait for the next attempt if there is one."""
        after = failed(self._endpoint, problem)
        last = after.failures > len(self._source.retry_delays) or problem == f"answered {_GONE}"
        await self._record(disabled(after, datetime.now(UTC)) if last else after)
        if last:
            return False
        delay = self._source.retry_delays[after.failures - 1]
        await anyio.sleep(delay * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311
        return True

    async def _record(self, endpoint: Endpoint) -> None:
        fields = ("failures", "problem", "disabled_at")
        changed = {name: getattr(endpoint, name) for name in fields}
        await self._source.call(
            self._source.endpoints.record,
            endpoint.id,
            lambda one: msgspec.structs.replace(one, **changed),
        )
        self._endpoint = endpoint

    async def _acknowledge(self, cursor: int) -> None:
        if cursor > self._acknowledged:
            source = self._source
            await source.call(source.log.ack, source.topic, self._endpoint.consumer, cursor)
            self._acknowledged = cursor
