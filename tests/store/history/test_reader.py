"""history and as_of: what happened to a session or a principal, and how it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import AsyncSessionStore, HistoryEntry, InvalidSession, SessionStore
from sessionledger.core import history as core_history
from sessionledger.core.codec import decode_event
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.store.aio.by_handle import AsyncHistory
from sessionledger.store.history import past_states, watch
from sessionledger.testing.clock import NOON, Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import URLS, Bench, Kind
from tests.store.operations.test_families import rotated
from tests.store.test_store import some

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
PAGE = 10
HANDLE = handle_of(digest(TOKEN))


def test_a_history_tells_who_why_whence_and_what_changed(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR, attributes={"a": 1}, context={"device": "phone"})
    clock.advance(MINUTE)
    store.patch(TOKEN, {"b": 2}, reason="cart", actor="web", context={"trace": "7"})
    clock.advance(10 * MINUTE)
    store.authenticate(TOKEN)
    store.expire(TOKEN, reason="logout")
    created, patched, seen, ended = list(store.history(handle=HANDLE))
    assert [one.event_id for one in (created, patched, seen, ended)] == [1, 2, 3, 4]
    assert (created.kind, created.occurred_at, created.principal) == (
        "session_created",
        NOON,
        "alice",
    )
    assert created.context == {"device": "phone"}
    assert created.changes["attributes"] == {"a": 1}
    assert created.changes["expires_at"] == NOON + HOUR
    assert (patched.reason, patched.actor, patched.context) == ("cart", "web", {"trace": "7"})
    assert patched.changes == {"attributes": {"a": 1, "b": 2}}
    assert seen.changes == {"last_seen_at": clock.now}
    assert ended.changes == {"expires_at": clock.now, "ended_at": clock.now}
    assert ended.reason == "logout"
    assert store.get(TOKEN) is None


def test_a_principal_s_history_is_that_of_all_its_sessions_in_order(
    store: SessionStore, clock: Clock
) -> None:
    store.create("alice", token=TOKEN)
    store.create("bob", token=OTHER)
    store.touch(OTHER)
    store.touch(TOKEN)
    successor = rotated(store)
    store.revoke_all("alice", reason="stolen")
    entries = list(store.history(principal="alice"))
    assert [entry.event_id for entry in entries] == [1, 4, 5, 6, 7, 8]
    assert {entry.handle for entry in entries} == {HANDLE, successor.handle}
    assert entries[2].changes["successors"] == (successor.handle,)
    assert entries[3].changes["family"] == HANDLE
    assert list(store.history(principal="nobody")) == []


@pytest.mark.parametrize(
    "told", [{"handle": HANDLE, "principal": "alice"}, {"handle": TOKEN}, {"principal": ""}]
)
def test_a_history_takes_a_handle_or_a_principal(store: SessionStore, told: Any) -> None:
    with pytest.raises(InvalidSession) as caught:
        list(store.history(**told))
    assert TOKEN not in str(caught.value)


def test_as_of_tells_how_it_was_also_of_what_is_over(store: SessionStore, clock: Clock) -> None:
    states = [store.create("alice", token=TOKEN, ttl=HOUR, attributes={"n": 0})]
    for n in range(1, 4):
        clock.advance(MINUTE)
        states.append(some(store.patch(TOKEN, {"n": n})))  # type: ignore[arg-type]
    clock.advance(MINUTE)
    states.append(some(store.expire(TOKEN)))  # type: ignore[arg-type]
    assert store.as_of(handle=HANDLE, at=NOON - timedelta(milliseconds=1)) is None
    for n, state in enumerate(states):
        known = some(store.as_of(handle=HANDLE, at=NOON + n * MINUTE))
        assert known == state
        assert known.version == state.version
        later = NOON + (n + 1) * MINUTE - timedelta(milliseconds=1)
        assert store.as_of(handle=HANDLE, at=later) == known
    assert some(store.as_of(handle=HANDLE, at=NOON + HOUR)).ended_at == clock.now
    assert store.as_of(handle=handle_of(digest(OTHER)), at=NOON) is None


@pytest.mark.parametrize("at", [None, NOON.replace(tzinfo=None), 7])
def test_as_of_takes_an_aware_instant(store: SessionStore, at: Any) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.as_of(handle=HANDLE, at=at)
    assert caught.value.field == "at"


@given(st.lists(st.sampled_from(["touch", "patch", "rotate", "wait", "reauthenticate"])))
def test_all_changes_together_are_what_the_session_is(calls: list[str]) -> None:
    clock = Clock()
    store = SessionStore(MemoryLog(), clock=clock)
    store.create("alice", token=TOKEN, external_id="sid", context={"a": "b"})
    for n, call in enumerate(calls):
        clock.advance(MINUTE if call == "wait" else timedelta(0))
        if call == "patch":
            store.patch(TOKEN, {f"k{n}": n})
        elif call == "rotate":
            store.rotate(TOKEN, grace=HOUR) if n < 8 else None
        elif call != "wait":
            getattr(store, call)(TOKEN)
    told: dict[str, Any] = {}
    entries = list(store.history(handle=HANDLE))
    for entry in entries:
        told |= entry.changes
    session = some(store.as_of(handle=HANDLE, at=clock.now))
    assert {name: getattr(session, name) for name in told} == told
    assert {"principal", "created_at", "external_id", "attributes"} <= told.keys()
    assert session.version == entries[-1].event_id


async def entries_of(told: AsyncHistory) -> list[HistoryEntry]:
    return [entry async for entry in told]


async def most_at_once(asked: Awaitable[Any], done: Callable[[], int]) -> int:
    """The most that was done in one turn of the loop until something was answered."""
    answered = asyncio.ensure_future(asked)
    most = before = done()
    while not answered.done():
        await asyncio.sleep(0)
        most, before = max(most, done() - before), done()
    await answered
    return most


@pytest.mark.parametrize("backend", URLS)
def test_a_long_history_lets_an_event_loop_go_on(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def counted(kind: str, payload: bytes) -> Any:
        decoded.append(kind)
        return decode_event(kind, payload)

    bench = Bench(Kind("sync", backend), tmp_path / "ledger", durability="normal")
    log = bench.log()
    told = SessionStore(log, clock=bench.clock)
    told.create("alice", token=TOKEN)
    for n in range(3 * PAGE):
        told.touch(TOKEN, attributes={"n": n})
    for module in (past_states, watch):
        monkeypatch.setattr(module, "EVENT_PAGE", PAGE)
    monkeypatch.setattr(core_history, "decode_event", counted)

    async def main() -> None:
        async with AsyncSessionStore(log, clock=bench.clock) as store:
            for asked in (
                entries_of(store.history(handle=HANDLE, page_size=PAGE)),
                entries_of(store.history(principal="alice", page_size=PAGE)),
                store.as_of(handle=HANDLE, at=NOON),
                anext(store.watch(after=3 * PAGE)),
            ):
                decoded.clear()
                assert await most_at_once(asked, lambda: len(decoded)) <= PAGE
                assert len(decoded) > 3 * PAGE

    asyncio.run(main())
    bench.close()


@given(st.integers(1, 7), st.integers(0, 15))
def test_pages_make_no_difference(size: int, touches: int) -> None:
    clock = Clock()
    store = SessionStore(MemoryLog(), clock=clock)
    store.create("alice", token=TOKEN)
    for n in range(touches):
        clock.advance(MINUTE)
        store.patch(TOKEN, {"n": n % 3})

    def told() -> list[Any]:
        then = [store.as_of(handle=HANDLE, at=NOON + n * MINUTE) for n in range(-1, touches + 1)]
        return [next(store.watch(after=touches)), then]

    whole, entries = told(), list(store.history(handle=HANDLE))
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(past_states, "EVENT_PAGE", size)
        patching.setattr(watch, "EVENT_PAGE", size)
        assert told() == whole
        assert list(store.history(handle=HANDLE, page_size=size)) == entries


def test_a_history_is_read_page_by_page(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    for n in range(7):
        store.patch(TOKEN, {"n": n})
    whole = list(store.history(handle=HANDLE))
    pages = list(store.history(handle=HANDLE, page_size=3).pages())
    assert [len(page.entries) for page in pages] == [3, 3, 2]
    assert [entry for page in pages for entry in page.entries] == whole
    assert [page.cursor for page in pages] == [whole[2].event_id, whole[5].event_id, None]
    for page in pages[:-1]:
        following = store.history(handle=HANDLE, after=page.cursor)
        assert list(following) == [one for one in whole if one.event_id > (page.cursor or 0)]
    assert list(store.history(handle=HANDLE, after=whole[-1].event_id)) == []


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_the_pages_of_a_principal_tell_its_sessions_in_order(
    store: SessionStore, size: int
) -> None:
    tokens = [store.create("alice").token for _ in range(4)]
    other = store.create("bob").token
    for n in range(3):
        for token in (*tokens, other, tokens[0]):
            store.patch(token, {"n": n})
    store.expire(tokens[1])
    store.create("alice")
    told = list(store.history(principal="alice", page_size=size))
    handles = {entry.handle for entry in told}
    assert [entry.event_id for entry in told] == sorted(entry.event_id for entry in told)
    by_handle = [entry for handle in handles for entry in store.history(handle=handle)]
    assert told == sorted(by_handle, key=lambda entry: entry.event_id)
    pages = store.history(principal="alice", page_size=size).pages()
    cursors = [page.cursor for page in pages if page.cursor is not None]
    for cursor in cursors:
        page = next(iter(store.history(principal="alice", after=cursor, page_size=size).pages()))
        assert page.entries == [one for one in told if one.event_id > cursor][:size]


@pytest.mark.parametrize(
    "told", [{"after": -1}, {"after": "1"}, {"page_size": 0}, {"page_size": 1001}]
)
def test_a_page_that_can_t_be_is_refused_before_it_is_read(
    store: SessionStore, told: dict[str, Any]
) -> None:
    with pytest.raises(InvalidSession):
        store.history(handle=HANDLE, **told)


def test_a_mark_is_told_once_whichever_page_it_is_on(store: SessionStore) -> None:
    first, _ = store.create("alice"), store.create("alice")
    store.patch(first.token, {"a": 1})
    store.revoke_everybody(reason="stolen keys")
    store.create("alice")
    whole = list(store.history(principal="alice"))
    assert [entry.reason for entry in whole].count("stolen keys") == 2
    for size in range(1, 7):
        assert list(store.history(principal="alice", page_size=size)) == whole
        told = list(store.history(handle=first.handle, page_size=size))
        assert told == [one for one in whole if one.handle == first.handle]
