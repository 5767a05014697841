"""Delivery to all endpoints of a ledger, by one process at a time.

The process that holds the lock delivers. The others wait for the lock and take over when its holder
is gone. Changes by the command line are noticed within a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from sessionledger import AsyncSessionStore, Log, LogTimeout, SessionLedgerError
from sessionledger.webhooks.delivery import Delivery, Source
from sessionledger.webhooks.endpoints import Endpoint, EndpointFile, UnsafeFile, is_locked_by_us

OnError: TypeAlias = Callable[[SessionLedgerError], None]

POLL_SECONDS = 1.0

_logger = logging.getLogger("sessionledger.webhooks")


def deliver_to_all(log: Log, topic: str, file: EndpointFile, on_error: OnError) -> None:
    """Deliver what happens in the sessions of a log, until it is interrupted."""

    async def run() -> None:
        async with AsyncSessionStore(log, topic=topic, on_error=on_error) as store:
            await Dispatcher(Source(store, log, topic, file)).run()

    asyncio.run(run())


class Dispatcher:
    """Delivers the events of a source to all its endpoints."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = source.file
        self._active: dict[str, _ActiveDelivery] = {}
        self._problem: str | None = None

    async def run(self) -> None:
        """Deliver until the task is cancelled, whenever no other process does."""
        while not self._file.path.exists():  # noqa: ASYNC110  the command line tells nobody
            await asyncio.sleep(POLL_SECONDS)
        async with self._lock():
            try:
                while True:
                    await self._refresh()
                    await asyncio.sleep(POLL_SECONDS)
            finally:
                for id in list(self._active):
                    await self._end(id)

    async def _refresh(self) -> None:
        """Begin deliveries to new endpoints, and end those to endpoints that are gone."""
        wanted = {one.id: one for one in await self._endpoints() if one.disabled_at is None}
        for id, active in list(self._active.items()):
            if id not in wanted or active.must_restart(wanted[id]):
                await self._end(id)
        for id, endpoint in wanted.items():
            if id not in self._active:
                self._begin(endpoint)

    async def _endpoints(self) -> tuple[Endpoint, ...]:
        """Those in the file. None while it can't be trusted: that is logged once."""
        try:
            endpoints = await self._source.call(self._file.read)
        except (LogTimeout, UnsafeFile) as error:
            self._warn(error)
            return ()
        self._problem = None
        return endpoints

    def _open_lock(self) -> int | None:
        try:
            return self._file.open_beside("-dispatcher")
        except UnsafeFile as error:
            self._warn(error)
            return None

    def _warn(self, error: Exception) -> None:
        """Log it, unless that was the last that was logged."""
        if self._problem != str(error):
            self._problem = str(error)
            _logger.warning("no webhook is delivered: %s", error)

    def _begin(self, endpoint: Endpoint) -> None:
        delivery = Delivery(self._source, endpoint)
        self._active[endpoint.id] = _ActiveDelivery(delivery)

    async def _end(self, id: str) -> None:
        active = self._active.pop(id)
        active.task.cancel()
        (error,) = await asyncio.gather(active.task, return_exceptions=True)
        if isinstance(error, SessionLedgerError | OSError | UnsafeFile):
            _logger.warning("delivery to webhook %s restarts after %s", id, type(error).__name__)
        elif isinstance(error, Exception):
            raise error

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        while (lock := self._open_lock()) is None:  # noqa: ASYNC110  nobody tells when it is mended
            await asyncio.sleep(POLL_SECONDS)
        try:
            while not is_locked_by_us(lock):  # noqa: ASYNC110  another process tells nobody when it ends
                await asyncio.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(lock)


class _ActiveDelivery:
    """A delivery to one endpoint, as a task."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self.task = asyncio.create_task(delivery.run())

    def must_restart(self, endpoint: Endpoint) -> bool:
        """Whether it ended, or was enabled again and must not wait for its next attempt."""
        return self.task.done() or (self._delivery.failures > 0 and endpoint.failures == 0)
