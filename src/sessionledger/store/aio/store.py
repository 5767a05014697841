"""The asynchronous store: for event loops, one or several in a process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta

from sessionledger.background import in_own_thread, running_loop
from sessionledger.core.policy import Policy, given_policy
from sessionledger.errors import StoreClosed
from sessionledger.logs.adapters.committing_thread import LoopLog
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.adapters.threads import for_loops
from sessionledger.logs.base import Log, RemoteLog
from sessionledger.logs.url import open_log
from sessionledger.secrecy import without_locals
from sessionledger.store.aio.by_handle import ByHandle
from sessionledger.store.aio.by_ledger import ByLedger
from sessionledger.store.aio.by_token import ByToken
from sessionledger.store.clock import Clock, Monotonic, system_clock
from sessionledger.store.engine import SESSIONS_TOPIC, Engine, OnError, no_engine
from sessionledger.store.telemetry.detection import telemetry_of
from sessionledger.store.telemetry.protocol import Telemetry


class AsyncSessionStore(ByToken, ByHandle, ByLedger):
    """Sessions on a ledger. One store serves several event loops. Its methods are as those of
    `SessionStore`."""

    def __init__(
        self,
        log: Log,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        monotonic: Monotonic | None = None,
        on_error: OnError | None = None,
        topic: str = SESSIONS_TOPIC,
    ) -> None:
        """A store on a log that is open already, and that stays open when the store is closed."""
        self._settle(policy, clock, monotonic, on_error, topic)
        self._attach(log)

    @classmethod
    @without_locals
    def open(
        cls,
        url: str,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        monotonic: Monotonic | None = None,
        on_error: OnError | None = None,
        durability: str = "full",
        timeout: timedelta | None = None,
        pool_size: int | None = None,
        max_staleness: timedelta | None = None,
        topic: str = SESSIONS_TOPIC,
    ) -> AsyncSessionStore:
        """The ledger at an address: `memory:`, `sqlite:///path`, `file:///path` or
        `postgresql://user@host/database`.

        `async with` opens it. All else is as in `SessionStore.open`. Raises `InvalidPolicy`;
        entering raises the rest, and `StoreClosed` while another task is entering.
        """
        store = cls.__new__(cls)
        store._settle(policy, clock, monotonic, on_error, topic)  # noqa: SLF001
        connect = without_locals(
            lambda: open_log(
                url,
                durability=durability,
                timeout=timeout,
                pool_size=pool_size,
                max_staleness=max_staleness,
            )
        )
        store._connect = connect  # noqa: SLF001
        return store

    def _settle(
        self,
        policy: Policy | None,
        clock: Clock | None,
        monotonic: Monotonic | None,
        on_error: OnError | None,
        topic: str,
    ) -> None:
        checked, told = given_policy(policy), system_clock if clock is None else clock

        def engine(log: ImmediateLog, telemetry: Telemetry) -> Engine:
            return Engine(log, topic, checked, told, monotonic, on_error, telemetry)

        self._engine_on = engine
        self._topic = topic
        self._connect: Callable[[], Log] | None = None
        self._loop_log: LoopLog | None = None
        self._in_place = self._look = None
        self._entering = threading.Lock()
        self._engine = no_engine("the store is not open yet: `async with store:` opens it")

    def _attach(self, log: Log) -> None:
        telemetry = telemetry_of(log, self._topic)
        self._log = log
        is_remote = isinstance(log, RemoteLog)
        self._in_place = None if is_remote else log
        self._look = log.kept if isinstance(log, RemoteLog) else log.state
        self._loop_log = for_loops(telemetry.log(log))
        self._engine = self._engine_on(self._loop_log, telemetry)
        telemetry.observe(self)

    async def __aenter__(self) -> AsyncSessionStore:
        running_loop()
        # Never waited for: who has it may run in another thread's loop.
        if not self._entering.acquire(blocking=False):
            raise StoreClosed("the store is not open yet: another task is entering it")
        try:
            if self._connect is not None and self._loop_log is None:
                await self._enter(self._connect)
        finally:
            self._entering.release()
        self._engine.check_open()
        return self

    async def _enter(self, connect: Callable[[], Log]) -> None:
        log = await _opened(connect)
        try:
            if self._connect is None:
                raise StoreClosed("the store was closed while it was being opened")
            self._attach(log)
        except BaseException:
            log.close()
            raise
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Fold what others appended here, in a thread, and not at the first read, in the loop."""
        try:
            await in_own_thread(self._log.row, self._topic, b"")
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Release the ledger. Closing twice is nothing."""
        if self._loop_log is not None:
            running_loop()  # without one, nothing is closed in part
        loop_log, self._loop_log = self._loop_log, None
        engine, self._engine = self._engine, no_engine("the store is closed")
        engine.close()
        if loop_log is None:
            self._connect = None
            return
        release = loop_log.detach() if self._connect is None else loop_log.close()
        self._connect = None
        # A caller that is cancelled does not leave the ledger open.
        await asyncio.shield(release)


async def _opened(connect: Callable[[], Log]) -> Log:
    """The log that a thread opens. It is closed, there, if its caller is cancelled meanwhile."""
    opening: Future[Log] = Future()

    def connected() -> Log:
        log = connect()
        opening.set_result(log)
        return log

    try:
        return await in_own_thread(connected)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda opening: opening.result().close())
        raise
