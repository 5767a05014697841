"""A store on another topic of the same ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionledger import AsyncSessionStore, Policy, SessionStore, StoreClosed
from sessionledger.testing import Clock

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)
POLICY = Policy(ttl=timedelta(minutes=5))


def test_another_topic_has_sessions_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    with SessionStore.open(url, clock=Clock(NOON)) as store:
        other = store.on_topic("mine.others", policy=POLICY)
        issued = other.create("alice")
        assert issued.expires_at == NOON + timedelta(minutes=5)
        assert (store.count(), other.count()) == (0, 1)
        other.close()
        with pytest.raises(StoreClosed):
            other.get(issued.token)
        assert store.get(store.create("bob").token) is not None
    with SessionStore.open(url, topic="mine.others", clock=Clock(NOON)) as again:
        assert again.get(issued.token) is not None


def test_another_topic_has_sessions_of_its_own_in_a_loop() -> None:
    async def run() -> None:
        async with AsyncSessionStore.open("memory:", clock=Clock(NOON)) as store:
            async with store.on_topic("mine.others", policy=POLICY) as other:
                issued = await other.create("alice")
                assert issued.expires_at == NOON + timedelta(minutes=5)
                assert (await store.count(), await other.count()) == (0, 1)
            assert await store.get((await store.create("bob")).token) is not None
            again = store.on_topic("mine.others")
            assert await again.get(issued.token) is not None
            await again.close()
        with pytest.raises(StoreClosed):
            store.on_topic("mine.others")

    asyncio.run(run())


def test_a_closed_store_has_no_other_topics() -> None:
    store = SessionStore.open("memory:")
    store.close()
    with pytest.raises(StoreClosed):
        store.on_topic("mine.others")
