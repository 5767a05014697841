"""Many at once: one winner for a token, ended stays ended, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from sessionledger import AsyncSessionStore, DuplicateSession, Log, Policy, Session, SessionStore
from sessionledger.logs.base import Outcome, RemoteLog, Unit
from sessionledger.testing.clock import NOON, Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import EMBEDDED, PERSISTENT, URLS, Bench, Kind

T = TypeVar("T")

CREATORS = 64
ROUNDS = 50
MANY_TASKS = [100, 200]
PATIENCE = 60.0
"""Seconds until a test that hangs fails; no outcome depends on it."""


@pytest.fixture(params=URLS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(Kind("sync", request.param), tmp_path / "ledger.db")
    yield bench
    bench.close()


@pytest.fixture
def log(bench: Bench) -> Log:
    return bench.log()


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls answer, each in a thread of its own, let go together."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], T]) -> T:
        barrier.wait(PATIENCE)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result(PATIENCE) for future in [threads.submit(one, c) for c in calls]]


def creation(store: SessionStore, principal: str) -> str | None:
    """The principal when its creation won, None when the token was used before."""
    try:
        return store.create(principal, token=TOKEN).principal
    except DuplicateSession:
        return None


def test_of_many_threads_that_create_one_token_one_wins(log: Log) -> None:
    store = SessionStore(log)
    answers = at_once([partial(creation, store, f"user{n}") for n in range(CREATORS)])
    winners = [answer for answer in answers if answer is not None]
    session = store.get(TOKEN)
    assert session is not None
    assert winners == [session.principal]
    assert store.head().id == store.count() == 1


@pytest.mark.parametrize("backend", PERSISTENT)
def test_of_many_stores_on_one_ledger_one_wins(backend: str, tmp_path: Path) -> None:
    bench = Bench(Kind("sync", backend), tmp_path / "ledger.db")
    stores = [bench.open() for _ in range(8)]
    answers = at_once([partial(creation, store, "alice") for store in stores])
    assert sorted(answers, key=str) == [None] * 7 + ["alice"]
    assert stores[0].head().id == 1
    bench.close()


@pytest.mark.parametrize("explicit", [False, True])
def test_no_touch_brings_back_what_is_expired_meanwhile(log: Log, explicit: bool) -> None:
    store = SessionStore(log, clock=Clock())
    seen_at = NOON if explicit else None
    for number in range(ROUNDS):
        token = f"{TOKEN}{number}"
        store.create("alice", token=token)
        calls: list[Callable[[], Session | None]] = [
            partial(store.touch, token, last_seen_at=seen_at),
            partial(store.touch, token, attributes={"a": 1}),
            partial(store.expire, token),
        ]
        ended = at_once(calls)[-1]
        assert ended is not None
        assert ended.ended_at is not None
        assert store.get(token) is store.touch(token) is None
    assert store.verify().ok
    assert store.count() == 0


def test_of_many_expiries_at_once_one_is_written(log: Log) -> None:
    store = SessionStore(log)
    store.create("alice", token=TOKEN)
    ended = at_once([lambda: store.expire(TOKEN)] * 16)
    assert len({session.ended_at for session in ended if session is not None}) == 1
    assert store.head().id == 2


def test_touches_that_decide_on_the_same_state_share_one_more(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In threads. One is written, and of those that decide again the first, for all the others."""
    store, append = SessionStore(log), log.append
    store.create("alice", token=TOKEN)
    decided = threading.Barrier(32)

    def appended(topic: str, units: Sequence[Unit]) -> list[Outcome]:
        with suppress(threading.BrokenBarrierError):
            if not decided.broken:
                decided.wait(PATIENCE)
                decided.abort()
        return append(topic, units)

    def touched() -> int:
        begun = datetime.now(UTC)
        session = store.touch(TOKEN)
        assert session is not None
        assert session.last_seen_at >= begun
        return session.version

    monkeypatch.setattr(log, "append", appended)
    assert {*at_once([touched] * 32)} <= {2, 3}
    assert store.verify().events <= 3


def test_a_sighting_with_a_time_to_come_stands_for_no_touch(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else a session lapses whose bearer is there, where somebody else changes it."""
    clock, append = Clock(), log.append
    store = SessionStore(log, policy=Policy(idle_timeout=timedelta(hours=2)), clock=clock)
    store.create("alice", token=TOKEN)
    store.touch(TOKEN, last_seen_at=NOON + timedelta(hours=1))
    clock.advance(timedelta(minutes=30))

    def patched_before(topic: str, units: Sequence[Unit]) -> list[Outcome]:
        monkeypatch.setattr(log, "append", append)
        store.patch(TOKEN, {"a": 1})
        return append(topic, units)

    monkeypatch.setattr(log, "append", patched_before)
    touched = store.touch(TOKEN)
    assert touched is not None
    assert (touched.version, touched.expires_at) == (4, NOON + timedelta(hours=2, minutes=30))


def test_touches_that_say_more_are_all_written(log: Log) -> None:
    store = SessionStore(log)
    store.create("alice", token=TOKEN)
    calls: list[Callable[[], Session | None]] = [
        lambda: store.touch(TOKEN, reason="polled"),
        lambda: store.touch(TOKEN, actor="bob"),
        lambda: store.touch(TOKEN, attributes={"a": 1}),
        lambda: store.touch(TOKEN, ttl=timedelta(hours=1)),
    ]
    touched = at_once(calls * 4)
    assert sorted(session.version for session in touched if session) == list(range(2, 18))


@pytest.mark.parametrize("tasks", MANY_TASKS)
def test_of_many_tasks_that_touch_one_session_few_write(log: Log, tasks: int) -> None:
    async def main() -> list[Session | None]:
        async with AsyncSessionStore(log) as store:
            await store.create("alice", token=TOKEN)
            return await asyncio.gather(*(store.touch(TOKEN) for _ in range(tasks)))

    begun = datetime.now(UTC)
    touched = asyncio.run(main())
    assert all(session and session.last_seen_at >= begun for session in touched)
    events = SessionStore(log).verify().events
    # All tasks of a loop read an embedded log before the first of them has written.
    assert events <= (tasks // 2 if isinstance(log, RemoteLog) else 3)


def test_of_many_tasks_that_create_one_token_one_wins(log: Log) -> None:
    async def main() -> list[object]:
        async with AsyncSessionStore(log) as store:
            creating = (store.create(f"user{n}", token=TOKEN) for n in range(CREATORS))
            return await asyncio.gather(*creating, return_exceptions=True)

    answers = asyncio.run(main())
    assert sum(isinstance(answer, DuplicateSession) for answer in answers) == CREATORS - 1
    assert sum(isinstance(answer, Session) for answer in answers) == 1
    assert log.latest("orchestrator.sessions") == 1


def test_one_asynchronous_store_serves_two_loops(log: Log) -> None:
    store = AsyncSessionStore(log)

    async def work(principal: str) -> set[str]:
        issued = await asyncio.gather(*(store.create(principal) for _ in range(50)))
        for session in issued[::2]:
            await store.expire(session.token)
        assert await store.touch(TOKEN) is not None
        return {session.handle async for session in store.sessions(principal=principal)}

    SessionStore(log).create("shared", token=TOKEN)
    alices, bobs = at_once([lambda: asyncio.run(work("alice")), lambda: asyncio.run(work("bob"))])
    asyncio.run(store.close())
    assert len(alices) == len(bobs) == 25
    assert not alices & bobs
    checked = SessionStore(log)
    assert checked.verify().events == 1 + 2 * (50 + 25 + 1)
    assert checked.count() == 51


def test_a_cancelled_create_lands_all_the_same(log: Log) -> None:
    async def main() -> None:
        async with AsyncSessionStore(log) as store:
            creating = asyncio.create_task(store.create("alice", token=TOKEN))
            await asyncio.sleep(0)
            creating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await creating
            assert (await store.create("bob", token=OTHER)).version == 2
            assert await store.get(TOKEN) is not None
            with pytest.raises(DuplicateSession):
                await store.create("alice", token=TOKEN)
            assert (await store.head()).id == 2
            assert (await store.verify()).ok

    asyncio.run(main())


@pytest.mark.parametrize("bench", EMBEDDED, indirect=True)
def test_a_cancelled_expire_lands_when_the_store_is_closed_at_once(log: Log) -> None:
    async def main() -> None:
        async with AsyncSessionStore(log) as store:
            await store.create("alice", token=TOKEN)
            ending = asyncio.create_task(store.expire(TOKEN))
            await asyncio.sleep(0)
            ending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ending

    asyncio.run(main())
    assert SessionStore(log).get(TOKEN) is None
