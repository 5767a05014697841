"""Many tasks on one store: one winner per token, and one fsync for many creates."""

import asyncio
import secrets
import tempfile
from pathlib import Path

from sessionledger import AsyncSessionStore, DuplicateSession


async def create_together(store: AsyncSessionStore) -> None:
    """Creates that wait at the same time are committed together."""
    issued = await asyncio.gather(*(store.create(f"user-{n}") for n in range(100)))
    found = await asyncio.gather(*(store.get(session.token) for session in issued))
    print("created together:", len(issued), "live:", sum(one is not None for one in found))


async def race_for_a_token(store: AsyncSessionStore) -> None:
    """Of many creates of one token exactly one succeeds."""
    token = secrets.token_urlsafe(32)
    attempts = [store.create("alice", token=token) for _ in range(20)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    lost = sum(isinstance(outcome, DuplicateSession) for outcome in outcomes)
    print("one token, 20 creates:", len(outcomes) - lost, "won,", lost, "were duplicates")


async def main() -> None:
    """Run it in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncSessionStore.open(f"sqlite:///{Path(folder) / 'sessions.db'}") as store:
            await create_together(store)
            await race_for_a_token(store)
            print("live sessions:", await store.count())


if __name__ == "__main__":
    asyncio.run(main())
