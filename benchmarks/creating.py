"""Durable creates, one at a time and together, beside bare fsync'd inserts."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from benchmarks.bare import BareTable
from benchmarks.byhand import ByHand
from benchmarks.rounds import Goal, Timing, measure
from sessionledger import AsyncSessionStore, SessionStore

ALONE = 50
BATCH = 128
BATCHES = 8
THREADS = 64
TTL = timedelta(hours=12)
ATTRIBUTES = {"role": "operator", "tenant": "acme"}

GOALS = (
    Goal("create, one at a time", "bare fsync'd insert", 1.5),
    Goal("create, 128 tasks", "bare fsync'd batch of 128", 0.4, at_least=True),
    Goal("create, 64 threads", "bare fsync'd batch of 128", 0.4, at_least=True),
    # The same goals for creates written by hand: what they miss, no library can meet.
    Goal("by hand, one at a time", "bare fsync'd insert", 1.5),
    Goal("by hand, 128 tasks", "bare fsync'd batch of 128", 0.4, at_least=True),
)


def creating(folder: Path, rounds: int) -> dict[str, Timing]:
    """Microseconds per durable create."""
    url = f"sqlite:///{folder / 'create.db'}"
    bare = BareTable(folder / "bare.db")
    by_hand = ByHand(folder / "by-hand.db")
    payload = _payload()
    with (
        SessionStore.open(url) as store,
        ThreadPoolExecutor(THREADS) as pool,
        asyncio.Runner() as runner,
    ):
        async_store = runner.run(_entered(AsyncSessionStore.open(url)))
        contenders: dict[str, Callable[[], int]] = {
            "bare fdatasync of 256 bytes": lambda: _fdatasync(folder / "sync.bin"),
            "bare fsync'd insert": lambda: _insert_alone(bare, payload),
            "bare fsync'd batch of 128": lambda: _insert_batches(bare, payload),
            "by hand, one at a time": lambda: _alone_by_hand(by_hand),
            "by hand, 128 tasks": lambda: runner.run(_in_tasks_by_hand(by_hand)),
            "create, one at a time": lambda: create_alone(store),
            "create, 128 tasks": lambda: runner.run(create_in_tasks(async_store)),
            "create, 64 threads": lambda: _create_in_threads(store, pool),
        }
        timings = measure(contenders, rounds)
        runner.run(async_store.close())
    return timings


async def _entered(store: AsyncSessionStore) -> AsyncSessionStore:
    return await store.__aenter__()


def _payload() -> bytes:
    """The payload of the event that such a create appends."""
    with SessionStore.open("memory:") as store:
        store.create("alice", ttl=TTL, attributes=ATTRIBUTES)
        return next(store.events()).payload


def _row(payload: bytes) -> tuple[str, bytes]:
    return "harn_sess_" + secrets.token_urlsafe(32), payload


def _fdatasync(path: Path) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(ALONE):
        os.write(file, b"x" * 256)
        os.fdatasync(file)
    os.close(file)
    return ALONE


def _insert_alone(bare: BareTable, payload: bytes) -> int:
    for _ in range(ALONE):
        bare.insert([_row(payload)])
    return ALONE


def _insert_batches(bare: BareTable, payload: bytes) -> int:
    for _ in range(BATCHES):
        bare.insert([_row(payload) for _ in range(BATCH)])
    return BATCH * BATCHES


def _alone_by_hand(by_hand: ByHand) -> int:
    for _ in range(ALONE):
        by_hand.create("alice", TTL, ATTRIBUTES)
    return ALONE


async def _in_tasks_by_hand(by_hand: ByHand) -> int:
    async def creates() -> None:
        for _ in range(BATCHES):
            await by_hand.create_in_loop("alice", TTL, ATTRIBUTES)

    await asyncio.gather(*(creates() for _ in range(BATCH)))
    return BATCH * BATCHES


def create_alone(store: SessionStore) -> int:
    for _ in range(ALONE):
        store.create("alice", ttl=TTL, attributes=ATTRIBUTES)
    return ALONE


async def create_in_tasks(store: AsyncSessionStore) -> int:
    async def creates() -> None:
        for _ in range(BATCHES):
            await store.create("alice", ttl=TTL, attributes=ATTRIBUTES)

    await asyncio.gather(*(creates() for _ in range(BATCH)))
    return BATCH * BATCHES


def _create_in_threads(store: SessionStore, pool: ThreadPoolExecutor) -> int:
    each = BATCH * BATCHES // THREADS

    def creates(_: int) -> None:
        for _ in range(each):
            store.create("alice", ttl=TTL, attributes=ATTRIBUTES)

    list(pool.map(creates, range(THREADS)))
    return each * THREADS
