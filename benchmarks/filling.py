"""Fill a ledger and bare tables with the same sessions, by tokens that anybody can name again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from sessionledger import AsyncSessionStore, IssuedSession, Session

EACH = 10
BATCH = 1000
Filled = Callable[[Sequence[tuple[str, Session]]], None]


def token(number: int) -> str:
    """The token of a session; made up, so that no process has to hold all of them."""
    return f"harn_sess_{number:043d}"


def principal(number: int) -> str:
    """Whose session that is: ten each."""
    return f"user-{number // EACH}"


async def fill(url: str, count: int, filled: Sequence[Filled] = ()) -> None:
    """Create so many sessions, and hand them over batch by batch."""
    async with AsyncSessionStore.open(url, durability="normal") as store:
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            issued = await asyncio.gather(*(_create(store, number) for number in numbers))
            for hand_over in filled:
                hand_over([(one.token, one) for one in issued])


async def _create(store: AsyncSessionStore, number: int) -> IssuedSession:
    return await store.create(
        principal(number),
        token=token(number),
        ttl=timedelta(days=7),
        attributes={"role": "operator", "number": number},
    )


def child(module: str, *arguments: object) -> str:
    """What a module prints in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    folder = Path(__file__).parent.parent
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout
