"""All endpoints of a ledger, told by one process at a time.

Whoever holds the lock delivers; the others wait for it, and take over when its holder is gone. What
is changed by the command line is noticed within a second.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from sessionledger import AsyncSessionStore, Log, SessionLedgerError
from sessionledger.webhooks.delivery import Delivery, Source
from sessionledger.webhooks.endpoints import Endpoint, EndpointFile, UnsafeFile

OnError: TypeAlias = Callable[[SessionLedgerError], None]

LOOK_SECONDS = 1.0

_logger = logging.getLogger("sessionledger.webhooks")


def deliver_to_all(log: Log, topic: str, file: EndpointFile, on_error: OnError) -> None:
    """Deliver what happens in the sessions of a log, until it is interrupted."""

    async def run() -> None:
        async with AsyncSessionStore(log, topic=topic, on_error=on_error) as store:
            await Dispatcher(Source(store, log, topic, file)).run()

    asyncio.run(run())


class Dispatcher:
    """Tells all endpoints of a source what happens there."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = source.file
        self._rounds: dict[str, _Round] = {}
        self._problem: str | None = None

    async def run(self) -> None:
        """Deliver until the task is cancelled, whenever no other process does."""
        while not self._file.path.exists():  # noqa: ASYNC110  the command line tells nobody
            await asyncio.sleep(LOOK_SECONDS)
        async with self._turn():
            try:
                while True:
                    await self._look()
                    await asyncio.sleep(LOOK_SECONDS)
            finally:
                for id in list(self._rounds):
                    await self._end(id)

    async def _look(self) -> None:
        """Begin with endpoints that are new, and end with those that are gone."""
        wanted = {one.id: one for one in await self._endpoints() if one.disabled_at is None}
        for id, round in list(self._rounds.items()):
            if id not in wanted or round.is_over_or_outdated(wanted[id]):
                await self._end(id)
        for id, endpoint in wanted.items():
            if id not in self._rounds:
                self._begin(endpoint)

    async def _endpoints(self) -> tuple[Endpoint, ...]:
        """Those in the file; none while it can't be trusted, which is told once."""
        try:
            endpoints = await asyncio.to_thread(self._file.read)
        except UnsafeFile as error:
            if self._problem != str(error):
                self._problem = str(error)
                _logger.warning("no webhook is delivered: %s", error)
            return ()
        self._problem = None
        return endpoints

    def _begin(self, endpoint: Endpoint) -> None:
        delivery = Delivery(self._source, endpoint)
        self._rounds[endpoint.id] = _Round(delivery)

    async def _end(self, id: str) -> None:
        round = self._rounds.pop(id)
        round.task.cancel()
        (error,) = await asyncio.gather(round.task, return_exceptions=True)
        if isinstance(error, SessionLedgerError | OSError | UnsafeFile):
            _logger.warning("webhook %s is begun anew: %s", id, type(error).__name__)
        elif isinstance(error, Exception):
            raise error

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        path = self._file.path.with_name(self._file.path.name + "-dispatcher")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(lock):  # noqa: ASYNC110  another process tells nobody when it ends
                await asyncio.sleep(LOOK_SECONDS)
            yield
        finally:
            os.close(lock)


class _Round:
    """An endpoint that is being told."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self.task = asyncio.create_task(delivery.run())

    def is_over_or_outdated(self, endpoint: Endpoint) -> bool:
        """Whether it has to begin anew: it ended, or somebody says that it is to try at once."""
        return self.task.done() or (self._delivery.failures > 0 and endpoint.failures == 0)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
