"""What is under the sessions: events, the chain, rebuilt rows, other stores, and the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from sessionledger import (
    AsyncSessionStore,
    InvalidEvent,
    Log,
    Session,
    SessionStore,
    StoreClosed,
)
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.clock import Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import KINDS, PERSISTENT, URLS, Bench, Kind

T = TypeVar("T")
HOUR = timedelta(hours=1)
HANDLE = handle_of(digest(TOKEN))
TOPIC = "orchestrator.sessions"

EVERY_CALL: dict[str, Callable[[SessionStore], Any]] = {
    "create": lambda s: s.create("alice"),
    "get": lambda s: s.get(TOKEN),
    "peek": lambda s: s.peek(TOKEN),
    "touch": lambda s: s.touch(TOKEN),
    "expire": lambda s: s.expire(TOKEN),
    "find": lambda s: s.find(handle=HANDLE),
    "revoke": lambda s: s.revoke(handle=HANDLE),
    "history": lambda s: list(s.history(handle=HANDLE)),
    "sessions": lambda s: list(s.sessions()),
    "pages": lambda s: list(s.sessions(principal="alice").pages()),
    "count": lambda s: s.count(),
    "events": lambda s: list(s.events()),
    "head": lambda s: s.head(),
    "verify": lambda s: s.verify(),
    "rebuild": lambda s: s.rebuild(),
    "stats": lambda s: s.stats(),
    "enter": lambda s: s.__enter__(),
}
USES = [name for name in EVERY_CALL if name != "enter"]


def everything(store: SessionStore) -> list[Session]:
    return list(store.sessions(state="all"))


@pytest.fixture
def settled(store: SessionStore) -> SessionStore:
    """A store with five events of two sessions, one of them ended."""
    store.create("alice", token=TOKEN, attributes={"a": 1})
    store.create("bob", token=OTHER)
    store.touch(TOKEN, attributes={"a": 2})
    store.expire(OTHER, reason="logout")
    store.touch(TOKEN)
    return store


def test_events_are_answered_as_they_are_stored(settled: SessionStore) -> None:
    events = list(settled.events())
    kinds = ["created", "created", "touched", "expired", "touched"]
    assert [event.id for event in events] == [1, 2, 3, 4, 5]
    assert [event.kind for event in events] == [f"session_{kind}" for kind in kinds]
    assert events[0].value["record"]["token_handle"] == HANDLE
    assert list(settled.events(after=3)) == events[3:]
    assert list(settled.events(after=5)) == list(settled.events(after=99)) == []


def test_events_can_be_left_early_and_read_again(settled: SessionStore) -> None:
    assert next(iter(settled.events())).id == 1
    assert len(list(settled.events())) == 5


def test_the_head_is_the_newest_event(settled: SessionStore) -> None:
    head, newest = settled.head(), list(settled.events())[-1]
    assert (head.topic, head.id) == (TOPIC, newest.id)
    assert head.hash == newest.headers["harn.provenance.record_hash"]
    assert str(head) == f"{TOPIC}:5:{head.hash}"


def test_an_empty_ledger_has_a_head_too(store: SessionStore) -> None:
    assert str(store.head()) == f"{TOPIC}:0:-"
    verified = store.verify(expect=str(store.head()))
    assert (verified.ok, verified.events, verified.head) == (True, 0, store.head())
    assert (store.rebuild(), everything(store), list(store.events())) == (0, [], [])


def test_the_chain_holds_and_holds_every_earlier_head(settled: SessionStore) -> None:
    earlier = str(settled.head())
    settled.create("carol")
    told: list[int] = []
    verified = settled.verify(expect=earlier, progress=told.append)
    assert (verified.ok, verified.events, verified.head) == (True, 6, settled.head())
    assert told[-1] == 6
    assert settled.verify(expect=str(settled.head())).ok


def test_a_head_that_is_not_there_is_missed(settled: SessionStore) -> None:
    other = f"{TOPIC}:3:sha256:{'0' * 64}"
    assert settled.verify(expect=other).broken is not None
    shorter = settled.verify(expect=f"{TOPIC}:6:sha256:{'0' * 64}")
    assert shorter.broken is not None
    assert shorter.broken.id == 6


@pytest.mark.parametrize("head", ["", "head", f"{TOPIC}:3", f"{TOPIC}:x:sha256:0", "other:0:-"])
def test_what_is_no_head_of_the_topic_is_refused(settled: SessionStore, head: str) -> None:
    with pytest.raises(InvalidEvent):
        settled.verify(expect=head)


def test_rebuilding_gives_the_same_sessions(settled: SessionStore) -> None:
    before, head = everything(settled), settled.head()
    told: list[int] = []
    assert settled.rebuild(progress=told.append) == told[-1] == 5
    assert (everything(settled), settled.head()) == (before, head)
    assert settled.get(OTHER) is None
    assert settled.touch(TOKEN) is not None


def test_stats_count_and_describe(bench: Bench, settled: SessionStore, clock: Clock) -> None:
    settled.create("carol", ttl=HOUR)
    stats = settled.stats()
    assert (stats.topic, stats.events, stats.sessions, stats.live) == (TOPIC, 6, 3, 2)
    assert stats.log.chained
    assert stats.log.backend == bench.kind.backend
    clock.advance(HOUR)
    assert settled.stats().live == 1


def test_several_stores_share_one_log(bench: Bench, clock: Clock) -> None:
    log = bench.log()
    one, two = bench.on(log), bench.on(log)
    plain = SessionStore(log, clock=clock)
    issued = one.create("alice", token=TOKEN)
    assert two.get(TOKEN) == plain.get(TOKEN) == issued
    two.expire(TOKEN)
    assert one.get(TOKEN) is plain.get(TOKEN) is None
    two.close()
    assert one.create("bob").version == 3
    assert log.latest(TOPIC) == 3


@pytest.mark.parametrize("backend", PERSISTENT)
def test_stores_of_one_ledger_see_each_other(backend: str, tmp_path: Path) -> None:
    benches = [Bench(kind, tmp_path / "ledger.db") for kind in KINDS if kind.backend == backend]
    stores = [bench.open() for bench in benches for _ in range(2)]
    stores[0].create("alice", token=TOKEN)
    assert [store.get(TOKEN) is not None for store in stores] == [True] * 4
    stores[3].expire(TOKEN)
    assert [store.get(TOKEN) for store in stores] == [None] * 4
    for bench in benches:
        bench.close()


def test_a_store_of_another_topic_sees_nothing(bench: Bench) -> None:
    log = bench.log()
    here, there = bench.on(log), bench.on(log, topic="elsewhere")
    here.create("alice", token=TOKEN)
    assert there.get(TOKEN) is there.find(handle=HANDLE) is there.expire(TOKEN) is None
    assert (everything(there), there.count(state="all"), there.head().id) == ([], 0, 0)
    assert (list(there.events()), list(there.history(principal="alice"))) == ([], [])
    assert there.create("bob", token=TOKEN).principal == "bob"
    there.expire(TOKEN)
    assert here.get(TOKEN) is not None
    assert log.topics() == ["elsewhere", TOPIC]


def test_a_log_outlives_its_stores_and_a_file_its_logs(bench: Bench) -> None:
    log = bench.log()
    with bench.on(log) as store:
        issued = store.create("alice", token=TOKEN, attributes={"a": 1})
        head = store.head()
    log.close() if bench.persists else None
    again = bench.open() if bench.persists else bench.on(log)
    assert (again.get(TOKEN), again.head()) == (issued, head)
    assert again.verify(expect=str(head)).ok


@pytest.mark.parametrize("name", EVERY_CALL)
def test_a_closed_store_refuses_every_call(settled: SessionStore, name: str) -> None:
    settled.close()
    settled.close()
    with pytest.raises(StoreClosed):
        EVERY_CALL[name](settled)


@pytest.mark.parametrize("name", EVERY_CALL)
def test_a_closed_store_on_an_open_log_refuses_every_call(bench: Bench, name: str) -> None:
    log = bench.log()
    with bench.on(log) as store:
        store.create("alice", token=TOKEN)
    with pytest.raises(StoreClosed):
        EVERY_CALL[name](store)
    assert log.latest(TOPIC) == 1


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_store_whose_log_was_closed_refuses_every_call(
    kind: Kind, name: str, tmp_path: Path
) -> None:
    if name == "peek" and not kind.answers_in_place:
        pytest.skip("it does not ask such a log")
    bench = Bench(kind, tmp_path / "ledger.db")
    log = bench.log()
    store = bench.on(log)
    log.close()
    with pytest.raises(StoreClosed):
        EVERY_CALL[name](store)
    bench.close()


@pytest.mark.parametrize("backend", URLS)
@pytest.mark.parametrize("name", USES)
def test_an_asynchronous_store_is_entered_first(name: str, backend: str, tmp_path: Path) -> None:
    bench = Bench(Kind("async", backend), tmp_path / "ledger.db")
    with pytest.raises(StoreClosed, match="async with"):
        EVERY_CALL[name](bench.unentered())
    bench.close()


@pytest.mark.parametrize("backend", PERSISTENT)
def test_an_asynchronous_store_closed_before_it_was_entered_stays_closed(
    backend: str, tmp_path: Path
) -> None:
    bench = Bench(Kind("async", backend), tmp_path / "ledger.db")
    store = bench.unentered()
    store.close()
    try:
        with pytest.raises(StoreClosed):
            store.__enter__()
    finally:
        bench.close()


@pytest.mark.parametrize("backend", PERSISTENT)
def test_opening_an_asynchronous_store_touches_nothing_yet(backend: str, tmp_path: Path) -> None:
    AsyncSessionStore.open(URLS[backend](tmp_path / "ledger.db"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [SessionStore, AsyncSessionStore])
def test_events_without_an_archive_ask_for_nothing_else(kind: type[Any]) -> None:
    log = Asked(MemoryLog())
    SessionStore(cast(Log, log)).create("alice")
    store = kind(cast(Log, log))
    log.asked.clear()
    found = store.events()
    told = list(found) if kind is SessionStore else asyncio.run(listed(found))
    assert [event.id for event in told] == [1]
    assert set(log.asked) == {"read"}


async def listed(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


class Asked:
    """A log that writes down what it is asked."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._log, name)
