"""A server that stands still or cannot be reached: each call ends in time, and then all is well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionledger import AsyncSessionStore, LogUnavailable, SessionStore
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import PATIENCE, concurrently, until
from tests import postgres_server
from tests.logs.postgres.standing_still import Swallower, stopped_server

pytestmark = pytest.mark.middle

SHORT = timedelta(seconds=1)
Still = tuple[str, Callable[[], AbstractContextManager[None]]]


@pytest.fixture(params=["stopped", "swallowed"])
def still(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Still]:
    """The address of a ledger, and what makes its server stand still for a while."""
    if request.param == "stopped":
        if os.geteuid() != 0:
            pytest.skip("the server's processes are another user's")
        postgres_server.use_a_server_apart(monkeypatch)
        yield postgres_server.address(tmp_path), stopped_server
        return
    swallower = Swallower()
    yield swallower.url(tmp_path), swallower.standing_still
    swallower.close()


def failing(call: Callable[[], object]) -> object:
    """What a call raised, or else what it answered."""
    try:
        return call()
    except LogUnavailable as error:
        return error


def test_every_call_ends_in_time_and_the_ledger_recovers(still: Still) -> None:
    url, standing_still = still
    with SessionStore.open(url) as made:
        token = made.create("alice").token
        handle = made.create("bob").handle
    with opened(url) as store:
        log = store._log
        calls: list[Callable[[], object]] = [
            lambda: store.get(token),
            lambda: store.authenticate(token),
            lambda: store.find(handle=handle),
            lambda: store.count(),
            lambda: list(store.sessions(principal="alice")),
            lambda: list(store.history(principal="alice")),
            lambda: store.create("carol"),
            lambda: store.revoke(handle=handle),
            lambda: log.wait(SESSIONS_TOPIC, 1 << 60),
            lambda: log.ack(SESSIONS_TOPIC, "reader", 1),
            lambda: log.flush(),
            lambda: store.rebuild(),
            lambda: store.stats(),
            lambda: store.diagnose(),
            lambda: SessionStore.open(url, timeout=SHORT),
        ]
        with standing_still():
            told = concurrently(*[lambda call=call: failing(call) for call in calls])
            assert [type(answer) for answer in told if not isinstance(answer, LogUnavailable)] == []
        until(lambda: not isinstance(failing(lambda: store.get(token)), LogUnavailable))
    with SessionStore.open(url) as store:
        found = store.get(token)
        assert found is not None
        assert found.principal == "alice"
        store.revoke(handle=handle)
        assert store.find(handle=handle) is None
        assert store.verify().ok
        assert store.diagnose() == []


def opened(url: str) -> SessionStore:
    """With a short timeout, which is long enough for a server that does not stand still."""
    stores: list[SessionStore] = []

    def is_open() -> bool:
        with suppress(LogUnavailable):
            stores.append(SessionStore.open(url, timeout=SHORT, on_error=lambda _: None))
        return bool(stores)

    until(is_open)
    return stores[0]


def test_a_store_closes_while_its_server_stands_still(still: Still) -> None:
    url, standing_still = still
    with SessionStore.open(url) as made:
        token = made.create("alice").token
    store = opened(url)
    with standing_still():
        assert isinstance(failing(lambda: store.get(token)), LogUnavailable)
        store.close()
    with SessionStore.open(url) as store:
        assert store.get(token) is not None


def test_every_call_of_a_loop_ends_in_time_and_the_ledger_recovers(still: Still) -> None:
    url, standing_still = still

    async def work() -> None:
        with SessionStore.open(url) as made:
            token = made.create("alice").token
            others = [made.create("bob").token for _ in range(20)]
        async with AsyncSessionStore(opened(url)._log, on_error=lambda _: None) as store:
            loop_log = store._loop_log
            assert loop_log is not None

            async def later(token: str) -> object:
                # Comes while all trips to the server stand still.
                await asyncio.sleep(0)
                return await store.get(token)

            async def open_another() -> None:
                async with AsyncSessionStore.open(url, timeout=SHORT):
                    pass

            with standing_still():
                told: list[object]
                async with asyncio.timeout(PATIENCE):
                    calls: list[Coroutine[Any, Any, object]] = [
                        store.authenticate(token),
                        store.count(),
                        store.create("carol"),
                        store.expire(token),
                        loop_log.wait(SESSIONS_TOPIC, 1 << 60),
                        open_another(),
                        *map(later, others),
                    ]
                    told = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(one) for one in told if not isinstance(one, LogUnavailable)} == set()
            recovered = False
            while not recovered:
                with suppress(LogUnavailable):
                    recovered = await store.get(others[0]) is not None
            await asyncio.to_thread(store._log.close)
        with SessionStore.open(url) as again:
            again.expire(token)
            assert again.get(token) is None
            assert again.verify().ok

    asyncio.run(work())


def test_what_became_of_a_write_is_told_or_can_be_read(still: Still) -> None:
    url, standing_still = still
    token = "a token that is long enough, 00001"
    with SessionStore.open(url) as made:
        made.create("alice")
    with opened(url) as store, standing_still(), pytest.raises(LogUnavailable):
        store.create("bob", token=token)
    with SessionStore.open(url) as store:
        if store.get(token) is None:
            store.create("bob", token=token)
        assert store.count(principal="bob") == 1
        assert store.verify().ok
