"""What one worker's handlers share, and how they get at it from a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

from litestar import Request
from litestar.connection import ASGIConnection

from sessionledger import Session
from sessionledger.server.http.problems import unavailable
from sessionledger.server.observe.metrics import Tally
from sessionledger.server.service.keys import Key
from sessionledger.server.service.ledger import Ledger, open_ledger
from sessionledger.server.service.limits import StreamLimit, WriteLimit
from sessionledger.server.service.readiness import Readiness
from sessionledger.server.settings import Settings

Call: TypeAlias = Request[Any, Any, Any]
Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]


class Service:
    """One worker: its settings, its ledger while it runs, and whether it is to stop."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self.settings = settings
        self.tally = tally
        self._ledger: Ledger | None = None
        self._begin()

    def _begin(self) -> None:
        """As nobody has called yet; an event belongs to the loop that waits for it."""
        self.writes = WriteLimit(self.settings.writes_per_minute)
        self.streams = StreamLimit(self.settings.max_streams, self.tally.set_streams)
        self.readiness = Readiness()
        self.stopping = asyncio.Event()

    @property
    def ledger(self) -> Ledger:
        """The ledger. Raises `Refused` before it is open and after it is closed."""
        if self._ledger is None:
            raise unavailable("not_open", "the service is starting or stopping")
        return self._ledger

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The ledger is open in here. It may run again once it has stopped."""
        self._begin()
        async with open_ledger(self.settings) as self._ledger:
            try:
                yield
            finally:
                self.stop()
                self._ledger = None

    def stop(self) -> None:
        """Streams end from here on."""
        self.stopping.set()


def service_of(connection: Connection) -> Service:
    """The service that a request came to."""
    return cast(Service, connection.app.state.service)


def ledger_of(connection: Connection) -> Ledger:
    """The ledger of that service."""
    return service_of(connection).ledger


def caller_of(connection: Connection) -> Key:
    """The admin key that a request was made with, as `authorise` found it."""
    return cast(Key, connection.state.caller)


def bearer_of(connection: Connection) -> tuple[str, Session]:
    """The token that a request was made with, and its session, as `authorise` found them."""
    return cast(tuple[str, Session], connection.state.bearer)
