"""Delivery to all endpoints of a ledger, by one process at a time.

The process that has the lease delivers. The others take over when its holder is gone. Changes by
others are noticed within a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from sessionledger import AsyncSessionStore, Log, SessionLedgerError
from sessionledger.webhooks.administration import forget_cursor
from sessionledger.webhooks.delivery import Delivery, Source
from sessionledger.webhooks.endpoints import Endpoint, Endpoints, Known, UnsafeFile

OnError: TypeAlias = Callable[[SessionLedgerError], None]

POLL_SECONDS = 1.0

_logger = logging.getLogger("sessionledger.webhooks")


def deliver_to_all(log: Log, topic: str, endpoints: Endpoints, on_error: OnError) -> None:
    """Deliver what happens in the sessions of a log, until it is interrupted."""

    async def run() -> None:
        async with AsyncSessionStore(log, topic=topic, on_error=on_error) as store:
            await Dispatcher(Source(store, log, topic, endpoints)).run()

    asyncio.run(run())


class Dispatcher:
    """Delivers the events of a source to all its endpoints."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lease = source.endpoints.lease()
        self._active: dict[str, _ActiveDelivery] = {}
        self._problem: str | None = None

    async def run(self) -> None:
        """Deliver until the task is cancelled, whenever no other process does."""
        try:
            while True:
                await self._refresh()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._end_all()
            with suppress(SessionLedgerError):
                await self._source.call(self._lease.release)

    async def _refresh(self) -> None:
        """Begin and end deliveries, as the endpoints and the lease are now."""
        try:
            async with asyncio.timeout(self._lease.seconds_left if self._active else None):
                known, is_mine = await self._source.call(self._look)
        except SessionLedgerError as error:
            self._warn(error)
            if self._lease.seconds_left == 0:
                await self._end_all()
        except (TimeoutError, UnsafeFile) as error:
            self._warn(error)
            await self._end_all()
        else:
            self._problem = None
            await self._deliver_to(known, is_mine)

    def _look(self) -> tuple[Known, bool]:
        """All endpoints, and whether this process has the lease. Nobody takes it without any."""
        known = self._source.endpoints.read()
        return known, bool(known) and self._lease.hold()

    async def _deliver_to(self, known: Known, is_mine: bool) -> None:
        wanted = {one.id: one for one in known if is_mine and one.disabled_at is None}
        for id, active in list(self._active.items()):
            if id not in wanted or active.must_restart(wanted[id]):
                await self._end(id)
            if all(one.id != id for one in known):
                # It may have moved its cursor after somebody removed both.
                await self._source.call(forget_cursor, self._source.log, active.endpoint)
        for id, endpoint in wanted.items():
            if id not in self._active:
                self._active[id] = _ActiveDelivery(self._source, endpoint)

    def _warn(self, error: Exception) -> None:
        """Log it, unless that was the last that was logged."""
        problem = str(error) or "the ledger does not answer"
        if self._problem != problem:
            self._problem = problem
            _logger.warning("no webhook is delivered: %s", problem)

    async def _end_all(self) -> None:
        for id in list(self._active):
            await self._end(id)

    async def _end(self, id: str) -> None:
        active = self._active.pop(id)
        active.task.cancel()
        (error,) = await asyncio.gather(active.task, return_exceptions=True)
        # Whatever it is: others are delivered to.
        if isinstance(error, Exception):
            _logger.warning("delivery to webhook %s restarts after %s", id, type(error).__name__)


class _ActiveDelivery:
    """A delivery to one endpoint, as a task."""

    def __init__(self, source: Source, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._delivery = Delivery(source, endpoint)
        self.task = asyncio.create_task(self._delivery.run())

    def must_restart(self, endpoint: Endpoint) -> bool:
        """Whether it ended, or must go on with what changed."""
        return self.task.done() or self._delivery.must_restart(endpoint)
