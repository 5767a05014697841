"""`get` over PostgreSQL with `max_staleness`, unchanged, beside a dictionary and beside a trip."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from benchmarks.caching import (
    ACTIVE,
    ASYNC_GET,
    DICTIONARY,
    GET,
    Dictionary,
    read,
    read_async,
)
from benchmarks.filling import fill, token
from benchmarks.peers.servers import STARTERS, Missing
from benchmarks.rounds import Goal, Timing, measure
from sessionledger import AsyncSessionStore, SessionStore

SESSIONS = 100_000
BOUND = timedelta(seconds=2)
TRIP = "SessionStore.get, without max_staleness"

GOALS = (Goal(GET, DICTIONARY, 1.8), Goal(ASYNC_GET, DICTIONARY, 1.8))


def staleness(folder: Path, rounds: int) -> dict[str, Timing]:
    """Microseconds of a read of an active session."""
    with ExitStack() as stack:
        try:
            at = folder / "server"
            at.mkdir()
            place = stack.enter_context(STARTERS["postgres"](at, Path(sys.prefix)))
        except Missing as missing:
            print(f"  not run: {missing}")
            return {}
        url = str(place["postgres_uri"])
        dictionary = Dictionary()
        asyncio.run(fill(url, SESSIONS, [dictionary.fill]))
        tokens = [token(number) for number in random.sample(range(SESSIONS), ACTIVE)]
        plain = stack.enter_context(SessionStore.open(url))
        store = stack.enter_context(SessionStore.open(url, max_staleness=BOUND))
        runner = stack.enter_context(asyncio.Runner())
        loops = AsyncSessionStore.open(url, max_staleness=BOUND)
        runner.run(loops.__aenter__())
        stack.callback(lambda: runner.run(loops.close()))
        while store.stats().log.details["cached_rows"] != ACTIVE:
            for secret in tokens:
                store.get(secret)
        runner.run(_keep(loops, tokens))
        contenders: dict[str, Callable[[], int]] = {
            DICTIONARY: lambda: read(dictionary.get, tokens),
            GET: lambda: read(store.get, tokens),
            ASYNC_GET: lambda: runner.run(read_async(loops, tokens)),
            TRIP: lambda: read(plain.get, tokens),
        }
        return measure(contenders, rounds)


async def _keep(store: AsyncSessionStore, tokens: list[str]) -> None:
    while (await store.stats()).log.details["cached_rows"] != ACTIVE:
        await asyncio.gather(*map(store.get, tokens))
