"""`get` at a number of live sessions, beside a bare SELECT and beside Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from benchmarks.bare import BareTable, TunedTable
from benchmarks.redis_server import running_redis
from benchmarks.rounds import Goal, Timing, measure
from sessionledger import AsyncSessionStore, Session, SessionStore

READS = 2000

GOALS = (
    Goal("SessionStore.get", "bare SELECT", 1.25),
    Goal("AsyncSessionStore.get", "bare SELECT", 1.25),
    Goal("SessionStore.get", "bare SELECT, tuned", 1.25),
    Goal("SessionStore.get", "redis-py GET", 8.0, at_least=True),
)


def reading(folder: Path, sessions: int, rounds: int) -> dict[str, Timing]:
    """Microseconds per read of one random session of so many live ones."""
    url = f"sqlite:///{folder / f'get-{sessions}.db'}"
    issued = asyncio.run(_fill(url, sessions))
    bare = BareTable(folder / f"bare-{sessions}.db")
    tuned = TunedTable(folder / f"tuned-{sessions}.db")
    for table in (bare, tuned):
        table.fill(issued)
    tokens = [token for token, _ in issued]
    with SessionStore.open(url) as store, running_redis(issued) as redis:
        # A ledger that somebody writes to: until then nothing that was read is kept.
        store.create("somebody")
        contenders: dict[str, Callable[[], int]] = {
            "bare SELECT": lambda: _read(bare.get, tokens),
            "bare SELECT, tuned": lambda: _read(tuned.get, tokens),
            "SessionStore.get": lambda: _read(store.get, tokens),
        }
        if redis is not None:
            contenders["redis-py GET"] = lambda: _read(redis.get, tokens)
        with asyncio.Runner() as runner:
            async_store = runner.run(_entered(AsyncSessionStore.open(url)))
            contenders["AsyncSessionStore.get"] = lambda: runner.run(
                _read_async(async_store, tokens)
            )
            # All have read everything once, as in a process that has run for a while.
            for token in tokens:
                for get in (bare.get, tuned.get, store.get):
                    get(token)
            runner.run(_read_all(async_store, tokens))
            timings = measure(contenders, rounds)
            runner.run(async_store.close())
    return timings


async def _fill(url: str, count: int) -> list[tuple[str, Session]]:
    async with AsyncSessionStore.open(url, durability="normal") as store:
        issued = []
        for start in range(0, count, 1000):
            creates = [
                store.create(
                    f"user-{number // 10}",
                    ttl=timedelta(days=7),
                    attributes={"role": "operator", "number": number},
                )
                for number in range(start, min(start + 1000, count))
            ]
            issued += await asyncio.gather(*creates)
    return [(session.token, session) for session in issued]


async def _entered(store: AsyncSessionStore) -> AsyncSessionStore:
    return await store.__aenter__()


def _read(get: Callable[[str], Session | None], tokens: list[str]) -> int:
    chosen = random.choices(tokens, k=READS)
    for token in chosen:
        session = get(token)
        assert session is not None
        assert session.attributes["role"] == "operator"
    return READS


async def _read_all(store: AsyncSessionStore, tokens: list[str]) -> None:
    for token in tokens:
        await store.get(token)


async def _read_async(store: AsyncSessionStore, tokens: list[str]) -> int:
    chosen = random.choices(tokens, k=READS)
    for token in chosen:
        session = await store.get(token)
        assert session is not None
        assert session.attributes["role"] == "operator"
    return READS
