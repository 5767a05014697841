"""Sweeping sessions that lapsed: once, since what is swept is gone; durably, a page a flush."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.filling import BATCH, principal
from benchmarks.rounds import Figure, Limit
from sessionledger import AsyncSessionStore, SessionStore

SESSIONS = 100_000

RATE = "sessions swept"
LIMITS = (Limit(RATE, 20_000, at_least=True),)


def sweeping(folder: Path) -> list[Figure]:
    """The rate over all, and that of the slowest tenth."""
    url = f"sqlite:///{folder / 'sweep.db'}"
    lapse(url, SESSIONS)
    tenth, seconds = SESSIONS // 10, []
    with SessionStore.open(url) as store:
        for _ in range(10):
            start = time.perf_counter()
            assert store.sweep(limit=tenth) == tenth
            seconds.append(time.perf_counter() - start)
        assert (store.sweep(), store.stats().events) == (0, 2 * SESSIONS)
    return [
        Figure(RATE, SESSIONS / sum(seconds), "a second"),
        Figure("in the slowest tenth", tenth / max(seconds), "a second"),
    ]


def lapse(url: str, count: int) -> None:
    """Add sessions that lapsed an hour ago, a microsecond after each other."""
    asyncio.run(_lapse(url, count))


async def _lapse(url: str, count: int) -> None:
    over = datetime.now(UTC) - timedelta(hours=1)
    async with AsyncSessionStore.open(url, durability="normal") as store:
        for start in range(0, count, BATCH):
            creates = [
                store.create(
                    principal(number),
                    created_at=over - timedelta(days=1),
                    expires_at=over + timedelta(microseconds=number),
                    attributes={"role": "operator", "number": number},
                )
                for number in range(start, min(start + BATCH, count))
            ]
            await asyncio.gather(*creates)
