"""watch: every event once and in order, from wherever one left off, whoever wrote it."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import (
    AsyncSessionStore,
    CaughtUp,
    Change,
    HistoryEntry,
    InvalidSession,
    LogEvent,
    Row,
    SessionStore,
    StoreClosed,
    StoredEvent,
    Unit,
)
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.history import past_states
from sessionledger.testing.clock import Clock
from sessionledger.testing.fixtures import PATIENCE, concurrently
from tests.logs.children import ask, running
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench, Kind

T = TypeVar("T")

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=5)


@pytest.fixture(params=["memory", "sqlite"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    bench = Bench(Kind("sync", request.param), tmp_path / "ledger")
    yield bench
    bench.close()


def until_caught_up(watching: Iterator[HistoryEntry | CaughtUp]) -> tuple[list[HistoryEntry], int]:
    """What is told until all has been, and the cursor of that moment."""
    entries: list[HistoryEntry] = []
    for told in watching:
        if isinstance(told, CaughtUp):
            return entries, told.cursor
        entries.append(told)
    raise AssertionError("a watch has no end")


def ids(entries: list[HistoryEntry]) -> list[int]:
    return [entry.event_id for entry in entries]


def test_it_begins_with_what_was_missed(store: SessionStore, clock: Clock) -> None:
    issued = store.create("alice", token=TOKEN, attributes={"a": 1}, context={"device": "phone"})
    clock.advance(HOUR)
    store.patch(TOKEN, {"b": 2}, reason="cart")
    store.expire(TOKEN)
    entries, cursor = until_caught_up(store.watch(after=0))
    assert entries == list(store.history(handle=issued.handle))
    assert cursor == 3


def test_without_a_cursor_it_begins_with_what_is_new(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    watching = store.watch()
    assert until_caught_up(watching) == ([], 1)
    store.touch(TOKEN)
    store.expire(TOKEN)
    entries, cursor = until_caught_up(watching)
    assert (ids(entries), cursor) == ([2, 3], 3)


def test_a_change_is_told_against_what_was_before_it_was_watched(store: SessionStore) -> None:
    store.create("alice", token=TOKEN, attributes={"a": 1})
    watching = store.watch(after=1)
    assert until_caught_up(watching)[0] == []
    store.patch(TOKEN, {"b": 2})
    (patched,) = until_caught_up(watching)[0]
    assert patched.principal == "alice"
    assert patched.changes == {"attributes": {"a": 1, "b": 2}}


def test_reconnecting_misses_nothing_and_repeats_nothing(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    seen: list[int] = []
    cursor = 0
    for n in range(12):
        store.touch(TOKEN, attributes={"n": n})
        store.create("bob")
        watching = store.watch(after=cursor)
        for told in watching:
            if isinstance(told, CaughtUp):
                cursor = told.cursor
                break
            seen.append(told.event_id)
            cursor = told.event_id
            if len(seen) % 3 == 0:
                break
    seen += ids(until_caught_up(store.watch(after=cursor))[0])
    assert seen == list(range(1, 26))


def test_a_cursor_that_is_ahead_of_the_ledger_is_refused(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    assert until_caught_up(store.watch(after=1)) == ([], 1)
    with pytest.raises(InvalidSession, match="beyond the newest event, 1") as refused:
        next(iter(store.watch(after=2)))
    assert refused.value.field == "after"


def test_more_than_a_page_is_told_in_order(tmp_path: Path) -> None:
    bench = Bench(Kind("sync", "sqlite"), tmp_path / "ledger", durability="normal")
    store = SessionStore(bench.log(), clock=bench.clock)
    for _ in range(1100):
        store.create("alice")
    entries, cursor = until_caught_up(store.watch(after=0))
    assert ids(entries) == list(range(1, 1101))
    assert cursor == 1100
    bench.close()


def test_one_may_watch_one_principal(store: SessionStore) -> None:
    watching = store.watch(after=0, principal=" alice ")
    store.create("bob", token=OTHER)
    store.create("alice", token=TOKEN)
    store.touch(OTHER)
    alice = store.rotate(OTHER, principal="alice")
    assert alice is not None
    store.revoke_all("alice")
    entries, cursor = until_caught_up(watching)
    assert {entry.principal for entry in entries} == {"alice"}
    assert ids(entries) == ids(list(store.history(principal="alice")))
    assert cursor == store.head().id


def test_other_principals_cost_no_history(either: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    log = either.log()
    store = either.on(log)
    asked: list[bytes] = []
    looked_at: list[bytes] = []
    read_key, row = log.read_key, log.row

    def counted(topic: str, key: bytes, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        asked.append(key)
        return read_key(topic, key, after, limit)

    def counted_row(topic: str, key: bytes) -> Row | None:
        looked_at.append(key)
        return row(topic, key)

    others = [store.create(f"user{n}").token for n in range(5)]
    for token in others * 3:
        store.touch(token)
    alice = store.create("alice", token=TOKEN)
    monkeypatch.setattr(log, "read_key", counted)
    monkeypatch.setattr(log, "row", counted_row)
    (created,) = until_caught_up(store.watch(after=0, principal="alice"))[0]
    assert created.handle == alice.handle
    assert set(asked) == {digest(TOKEN)}
    assert sorted(looked_at) == sorted(map(digest, [*others, TOKEN]))


def test_a_session_that_ended_before_it_began_is_told_once_it_is_somebody_s(either: Bench) -> None:
    """The reference may write the end of a handle that nobody has created, and create it then."""
    store = either.on(either.log())
    watching = store.watch(after=0, principal="alice")
    ended = {"token_handle": handle_of(digest(TOKEN)), "expired_at": "2026-05-02T12:00:00Z"}
    end = LogEvent.of("session_expired", ended)
    store._log.append(SESSIONS_TOPIC, [Unit([Change(end)])])
    assert until_caught_up(watching) == ([], 1)
    record = ended | {
        "principal": "alice",
        "created_at": "2026-05-02T12:00:00Z",
        "last_seen_at": "2026-05-02T12:00:00Z",
        "expires_at": "2026-05-03T12:00:00Z",
        "attributes": {},
    }
    created = LogEvent.of("session_created", {"record": record})
    store._log.append(SESSIONS_TOPIC, [Unit([Change(created)])])
    assert [entry.principal for entry in until_caught_up(watching)[0]] == ["alice"]


LARGE = {str(n): "x" * 50 for n in range(500)}


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("sessions", "attributes", "over"), [(300, LARGE, False), (3000, {}, True)]
)
def test_a_watch_keeps_little(sessions: int, attributes: dict[str, Any], over: bool) -> None:
    store = SessionStore(MemoryLog())
    for _ in range(sessions):
        token = store.create("alice", attributes=attributes).token
        if over:
            store.expire(token)
    watching = store.watch(after=0)
    tracemalloc.start()
    try:
        for told in watching:
            if isinstance(told, CaughtUp):
                break
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < (0 if over else past_states.KEPT_BYTES) + 2**20


@given(st.sampled_from([0, 1000, 3000]), st.lists(st.integers(0, 9), max_size=40))
def test_how_much_is_kept_makes_no_difference(kept: int, touched: list[int]) -> None:
    store = SessionStore(MemoryLog())
    tokens = [store.create(f"user{n % 3}", attributes={"n": n}).token for n in range(10)]
    for n, which in enumerate(touched):
        store.patch(tokens[which], {"n": n, "b" * 100: 1.5}, context={"trace": str(n)})
        if n % 5 == 4:
            store.expire(tokens[which])
    by_id = sorted(
        (entry for n in range(3) for entry in store.history(principal=f"user{n}")),
        key=lambda entry: entry.event_id,
    )
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(past_states, "KEPT_BYTES", kept)
        assert until_caught_up(store.watch(after=0))[0] == by_id
        mine = [entry for entry in by_id if entry.principal == "user1"]
        assert until_caught_up(store.watch(after=0, principal="user1"))[0] == mine


def test_a_heartbeat_says_that_it_is_still_there(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    watching = store.watch(heartbeat=SOON)
    assert [next(watching) for _ in range(3)] == [CaughtUp(1)] * 3
    store.touch(TOKEN)
    assert ids(until_caught_up(watching)[0]) == [2]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("after", {"after": -1}),
        ("after", {"after": "7"}),
        ("after", {"after": True}),
        ("principal", {"principal": ""}),
        ("heartbeat", {"heartbeat": timedelta(0)}),
        ("heartbeat", {"heartbeat": 5}),
    ],
)
def test_what_can_t_be_watched_is_refused(store: SessionStore, field: str, told: Any) -> None:
    with pytest.raises(InvalidSession) as caught:
        next(store.watch(**told))
    assert caught.value.field == field


def test_who_waits_is_woken_and_many_may_watch(either: Bench) -> None:
    store, ready = SessionStore(either.log()), threading.Barrier(5)

    def watch() -> list[int]:
        seen: list[int] = []
        for told in store.watch(after=0):
            if isinstance(told, HistoryEntry):
                seen.append(told.event_id)
            elif not seen:
                ready.wait(PATIENCE)
            if len(seen) == 60:
                break
        return seen

    def write() -> list[int]:
        ready.wait(PATIENCE)
        concurrently(*[lambda: [store.create("alice") for _ in range(20)] for _ in range(3)])
        return list(range(1, 61))

    assert concurrently(write, *[watch] * 4) == [list(range(1, 61))] * 5


@pytest.mark.parametrize("owned", [False, True])
def test_a_watch_ends_when_the_store_is_closed(either: Bench, owned: bool) -> None:
    store = either.open() if owned else either.on(either.log())
    began = threading.Event()

    def watch() -> bool:
        with pytest.raises(StoreClosed):
            for _ in store.watch():
                began.set()
        return True

    def close() -> bool:
        began.wait(PATIENCE)
        store.close()
        return True

    assert concurrently(watch, close) == [True, True]


def test_a_watching_task_ends_when_the_store_is_closed(either: Bench) -> None:
    async def main() -> None:
        store = AsyncSessionStore(either.log())
        began = asyncio.Event()

        async def watch() -> None:
            async for _ in store.watch():
                began.set()

        watching = asyncio.create_task(watch())
        await began.wait()
        await store.close()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StoreClosed):
                await watching

    asyncio.run(main())


def test_of_many_watching_tasks_none_looks_by_itself(
    either: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task looks for all, and an event reaches each of them."""
    log, watching = either.log(), 400
    latest, looked = log.latest, list[object]()

    def look(topic: str) -> int:
        looked.append(asyncio.current_task())
        return latest(topic)

    async def main() -> list[int]:
        async with AsyncSessionStore(log) as store:
            ready = asyncio.Semaphore(0)

            async def watch() -> int:
                async for told in store.watch():
                    if isinstance(told, HistoryEntry):
                        return told.event_id
                    ready.release()
                raise AssertionError("a watch has no end")

            tasks = [asyncio.create_task(watch()) for _ in range(watching)]
            for _ in range(watching):
                await ready.acquire()
            until_waiting = len(looked)
            while len(looked) < until_waiting + 20:
                await asyncio.sleep(0)
            assert len({*looked[-10:]}) == 1
            await store.create("alice")
            async with asyncio.timeout(PATIENCE):
                return await asyncio.gather(*tasks)

    monkeypatch.setattr(log, "latest", look)
    assert asyncio.run(main()) == [1] * watching


def test_a_watching_task_can_be_cancelled_and_left(either: Bench) -> None:
    async def main() -> None:
        async with AsyncSessionStore(either.log()) as store:
            await store.create("alice", token=TOKEN)
            watching = store.watch(after=0)
            assert isinstance(await anext(watching), HistoryEntry)
            assert isinstance(await anext(watching), CaughtUp)
            waiting = asyncio.ensure_future(anext(watching))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            again = store.watch(after=0)
            assert isinstance(await anext(again), HistoryEntry)
            await aclose(again)

    asyncio.run(main())


async def aclose(items: AsyncIterator[T]) -> None:
    close: Callable[[], Any] = items.aclose  # type: ignore[attr-defined]
    await close()


def test_tasks_see_what_other_tasks_do(either: Bench) -> None:
    async def main() -> list[int]:
        async with AsyncSessionStore(either.log()) as store:
            seen: list[int] = []

            async def watch() -> None:
                async for told in store.watch(after=0):
                    if isinstance(told, HistoryEntry):
                        seen.append(told.event_id)
                    if len(seen) == 40:
                        return

            await asyncio.gather(watch(), *(store.create("alice") for _ in range(40)))
            return seen

    assert asyncio.run(main()) == list(range(1, 41))


WRITING = """
import sys
from sessionledger import SessionStore

with SessionStore.open(sys.argv[1]) as store:
    print("ready", flush=True)
    for line in sys.stdin:
        print(store.create(line.strip()).version, flush=True)
"""


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_another_process_s_events_are_seen(tmp_path: Path, colour: str) -> None:
    bench = Bench(Kind(colour, "sqlite"), tmp_path / "ledger")
    store = bench.open()
    watching = store.watch(after=0)
    assert until_caught_up(watching) == ([], 0)
    with running(WRITING, bench.url) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for n in range(1, 6):
            assert ask(child, f"user{n}") == str(n)
            entries, cursor = until_caught_up(watching)
            assert [entry.principal for entry in entries] == [f"user{n}"]
            assert cursor == n
    del watching
    bench.close()
