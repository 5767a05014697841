"""The stores of the service, on one log: sessions, admin keys, and idempotency records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from sessionledger import AsyncSessionStore, Log, Policy, open_log
from sessionledger.background import in_own_thread
from sessionledger.server.service.keys import KEY_POLICY
from sessionledger.server.settings import KEYS_TOPIC, REPLAYS_TOPIC, Settings
from sessionledger.webhooks.administration import Webhooks, webhooks_of
from sessionledger.webhooks.delivery import Source
from sessionledger.webhooks.dispatcher import Dispatcher

IDEMPOTENCY_POLICY = Policy(ttl=timedelta(hours=24))


class Ledger(msgspec.Struct, frozen=True):
    """A log, a store for each topic that the service keeps on it, and webhooks if it has any."""

    log: Log
    sessions: AsyncSessionStore
    keys: AsyncSessionStore
    idempotency: AsyncSessionStore
    webhooks: Webhooks | None


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Ledger]:
    """The ledger of the settings, which somebody else maintains."""
    log = await in_own_thread(
        open_log,
        settings.ledger,
        durability=settings.durability,
        max_staleness=settings.max_staleness,
    )
    try:
        async with (
            AsyncSessionStore(log, policy=settings.policy, topic=settings.topic) as sessions,
            AsyncSessionStore(log, policy=KEY_POLICY, topic=KEYS_TOPIC) as keys,
            AsyncSessionStore(log, policy=IDEMPOTENCY_POLICY, topic=REPLAYS_TOPIC) as idempotency,
        ):
            # Fold what others appended now, in a thread, and not in the first request.
            await sessions.count()
            webhooks = await in_own_thread(webhooks_of, log, settings.topic, settings.webhooks)
            yield Ledger(log, sessions, keys, idempotency, webhooks)
    finally:
        await asyncio.shield(in_own_thread(log.close))


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncIterator[Ledger]:
    """The ledger of the settings. While it is open, it is maintained, and webhooks are sent."""
    async with open_stores(settings) as ledger:
        sessions, retention = ledger.sessions, settings.retention
        maintain = partial(sessions.run_maintenance, retention=retention, archive=settings.archive)
        async with (
            _meanwhile(sessions.run_sweeper, settings.sweep_interval),
            _meanwhile(maintain, settings.maintenance_interval if retention else None),
            _delivered(ledger.log, sessions, settings.topic, ledger.webhooks),
        ):
            yield ledger


@asynccontextmanager
async def _meanwhile(
    run: Callable[..., Coroutine[Any, Any, None]], interval: timedelta | None
) -> AsyncIterator[None]:
    """Run it meanwhile, and then tell it to stop, which it does after a step; nothing for None."""
    if interval is None:
        yield
        return
    stop = asyncio.Event()
    running = asyncio.create_task(run(interval, stop=stop))
    try:
        yield
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await running


@asynccontextmanager
async def _delivered(
    log: Log, store: AsyncSessionStore, topic: str, webhooks: Webhooks | None
) -> AsyncIterator[None]:
    if webhooks is None:
        yield
        return
    source = Source(store, log, topic, webhooks.endpoints)
    dispatcher = asyncio.create_task(Dispatcher(source).run())
    try:
        yield
    finally:
        dispatcher.cancel()
        with suppress(asyncio.CancelledError):
            await dispatcher
