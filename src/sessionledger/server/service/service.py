"""What the requests of one worker share, and how a handler gets at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeAlias, TypeVar, cast

from litestar import Request
from litestar.connection import ASGIConnection

from sessionledger import Log, Session, SessionLedgerError, Stats
from sessionledger.background import in_own_thread
from sessionledger.server.http.problems import HTTPProblem, unavailable
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.service.feed import Feed
from sessionledger.server.service.keys import Key
from sessionledger.server.service.ledger import Ledger, open_ledger
from sessionledger.server.service.limits import RequestCount, RequestLimits, StreamLimit
from sessionledger.server.settings import KEYS_TOPIC, Settings

T = TypeVar("T")

PROBE_CONSUMER = "readyz"
PROBE_TIMEOUT_SECONDS = 1.0
PROBE_INTERVAL_SECONDS = 1.0
STATS_SECONDS = 60.0
"""How old the figures of the ledger among the metrics may be: to count takes all rows."""

CLEANUP = "sessionledger.cleanup"
"""Where the scope of a request has its `cleanup_of`."""

PREFIX = "sessionledger.prefix"
"""Where the scope of a request says below which prefix the service is, such as `/ledger`."""

COUNT = "sessionledger.count"
"""Where the scope of a request has its `count_of`."""

HandlerRequest: TypeAlias = Request[Any, Any, Any]
Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]


class Service:
    """One worker: its settings, its ledger while it runs, and whether it has to stop."""

    def __init__(self, settings: Settings, metrics: RequestMetrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.limits = RequestLimits(settings, metrics.subjects, metrics.count_limited)
        self._ledger: Ledger | None = None
        self._feed: Feed | None = None
        self._reset()

    def _reset(self) -> None:
        """Forget all requests. An event belongs to the loop that waits for it."""
        self.streams = StreamLimit(self.settings.max_streams, self.metrics.set_streams)
        self._writable = Recent(lambda: _can_write(self.ledger.log), PROBE_INTERVAL_SECONDS)
        self._stats = Recent(lambda: self.ledger.sessions.stats(), STATS_SECONDS)
        self.stopping = asyncio.Event()

    @property
    def ledger(self) -> Ledger:
        """The ledger. Raises `HTTPProblem` before it is open and after it is closed."""
        if self._ledger is None:
            raise _not_open()
        return self._ledger

    @property
    def feed(self) -> Feed:
        """What the event streams read. Raises `HTTPProblem` where `ledger` does."""
        if self._feed is None:
            raise _not_open()
        return self._feed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The ledger is open in here. The service may run again once it has stopped."""
        self._reset()
        async with open_ledger(self.settings) as self._ledger:
            self._feed = Feed(self._ledger)
            try:
                yield
            finally:
                self.stop()
                self._ledger = self._feed = None

    async def is_writable(self) -> bool:
        """Whether the ledger can be written, or could a second ago, found out by writing.

        The probe writes a cursor: it takes the same lock and the same disk as an event, and leaves
        the log as long as it was.
        """
        return await self._writable.answer() is True

    async def stats(self) -> Stats | None:
        """How much there is, or was less than a minute ago; None where that is not known."""
        return None if self._ledger is None else await self._stats.answer()

    def stop(self) -> None:
        """End the streams."""
        self.stopping.set()
        if self._feed is not None:
            self._feed.wake()


class Recent(Generic[T]):
    """What a call finds out, at most once in so many seconds.

    There is one call at a time: one that the log does not answer occupies a thread.
    """

    def __init__(self, call: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> None:
        self._call = call
        self._seconds = seconds
        self._task: asyncio.Task[T] | None = None
        self._begun = 0.0

    async def answer(self) -> T | None:
        """The answer of the last call; None if it takes longer than a second, or failed."""
        task = self._task
        if task is None or (task.done() and time.monotonic() - self._begun > self._seconds):
            task = self._task = asyncio.create_task(self._call())
            self._begun = time.monotonic()
        await asyncio.wait({task}, timeout=PROBE_TIMEOUT_SECONDS)
        is_known = task.done() and not task.cancelled() and task.exception() is None
        return task.result() if is_known else None


async def _can_write(log: Log) -> bool:
    now = time.time_ns() // 1_000_000
    try:
        await in_own_thread(log.ack, KEYS_TOPIC, PROBE_CONSUMER, now)
    except SessionLedgerError:
        return False
    return True


def _not_open() -> HTTPProblem:
    return unavailable("not_open", "the service is starting or stopping")


def service_of(connection: Connection) -> Service:
    """The service that a request came to."""
    return cast(Service, connection.app.state.service)


def ledger_of(connection: Connection) -> Ledger:
    """The ledger of that service."""
    return service_of(connection).ledger


def cleanup_of(connection: Connection) -> AsyncExitStack:
    """What happens once a request has ended, whether or not its response was sent as a whole."""
    return cast(AsyncExitStack, connection.scope[CLEANUP])  # type: ignore[literal-required]


def count_of(connection: Connection) -> RequestCount:
    """What the request counts for."""
    return cast(RequestCount, connection.scope[COUNT])  # type: ignore[literal-required]


def prefix_of(connection: Connection) -> str:
    """The prefix of all paths of the service; empty where there is none."""
    return cast(str, connection.scope[PREFIX])  # type: ignore[literal-required]


def caller_of(connection: Connection) -> Key:
    """The admin key that a request was made with, as `authorise` found it."""
    return cast(Key, count_of(connection).caller)


def bearer_of(connection: Connection) -> tuple[str, Session]:
    """The token that a request was made with, and its session, as `authorise` found them."""
    return cast(tuple[str, Session], connection.state.bearer)
