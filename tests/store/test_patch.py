"""patch: attributes without lost updates."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sessionledger import (
    AsyncSessionStore,
    InvalidSession,
    Policy,
    Session,
    SessionStore,
    VersionConflict,
)
from sessionledger.core.token import digest, handle_of
from sessionledger.testing.clock import NOON, Clock
from sessionledger.testing.fixtures import concurrently
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench
from tests.store.test_store import some

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
HANDLE = handle_of(digest(TOKEN))
MANY = 16


@pytest.fixture(autouse=True)
def alice(store: SessionStore) -> Session:
    return store.create("alice", token=TOKEN, ttl=HOUR, attributes={"a": 1, "deep": {"b": 2}})


def attributes(store: SessionStore) -> dict[str, Any]:
    return some(store.get(TOKEN)).attributes


def test_it_merges_by_token_and_by_handle(store: SessionStore) -> None:
    patched = some(store.patch(TOKEN, {"deep": {"c": 3}}))
    assert patched.attributes == {"a": 1, "deep": {"b": 2, "c": 3}}
    assert patched == store.get(TOKEN)
    again = some(store.patch(handle=HANDLE, changes={"a": None, "d": [None]}, actor="root"))
    assert again.attributes == {"deep": {"b": 2, "c": 3}, "d": [None]}
    assert list(store.history(handle=HANDLE))[-1].actor == "root"


def test_it_takes_the_token_or_the_handle(store: SessionStore) -> None:
    tellings: list[dict[str, Any]] = [{"token": TOKEN, "handle": HANDLE}, {}]
    for told in tellings:
        with pytest.raises(InvalidSession) as caught:
            store.patch(changes={"b": 1}, **told)
        assert TOKEN not in str(caught.value)
    with pytest.raises(InvalidSession):
        store.patch(handle=TOKEN, changes={"b": 1})
    assert store.head().id == 1


def test_it_is_no_sighting(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(ttl=HOUR, idle_timeout=10 * MINUTE))
    store.create("bob", token=OTHER)
    clock.advance(MINUTE)
    patched = some(store.patch(OTHER, {"b": 1}))
    assert (patched.last_seen_at, patched.expires_at) == (NOON, NOON + 10 * MINUTE)


def test_what_changes_nothing_appends_nothing(store: SessionStore, alice: Session) -> None:
    same = some(store.patch(TOKEN, {"a": 1, "deep": {}, "not there": None}))
    assert (same, same.version) == (store.get(TOKEN), alice.version)
    assert store.head().id == 1


def test_a_version_expected_in_vain_tells_the_current_one(
    store: SessionStore, alice: Session
) -> None:
    patched = some(store.patch(TOKEN, {"b": 1}, if_version=alice.version))
    tellings: list[dict[str, Any]] = [{"token": TOKEN}, {"handle": HANDLE}]
    for told in tellings:
        with pytest.raises(VersionConflict) as caught:
            store.patch(changes={"b": 2}, if_version=alice.version, **told)
        assert caught.value.current == patched.version
    assert attributes(store)["b"] == 1
    assert some(store.patch(TOKEN, {"b": 2}, if_version=patched.version)).attributes["b"] == 2


def test_what_is_over_is_none(store: SessionStore, clock: Clock) -> None:
    assert store.patch(OTHER, {"b": 1}) is None
    clock.advance(HOUR)
    assert store.patch(TOKEN, {"b": 1}) is store.patch(handle=HANDLE, changes={"b": 1}) is None
    assert store.head().id == 1
    store.expire(TOKEN)
    assert store.patch(TOKEN, {"b": 1}, if_version=1) is None
    assert store.head().id == 2


def test_a_token_is_refused_in_changes(store: SessionStore) -> None:
    for secret in (TOKEN, "harn_sess_" + "a" * 43):
        with pytest.raises(InvalidSession) as caught:
            store.patch(TOKEN, {"copy": secret})
        assert secret not in str(caught.value)
    with pytest.raises(InvalidSession):
        store.patch(handle=HANDLE, changes={"harn_sess_" + "a" * 43: 1})
    assert store.head().id == 1


def test_threads_that_patch_different_names_lose_nothing(bench: Bench, clock: Clock) -> None:
    store = SessionStore(bench.log(), clock=clock)
    store.create("alice", token=OTHER)
    patched = concurrently(
        *[lambda name=f"k{n}": store.patch(OTHER, {name: 1}) for n in range(MANY)],
    )
    assert all(patched)
    assert some(store.get(OTHER)).attributes == {f"k{n}": 1 for n in range(MANY)}
    assert len(list(store.history(handle=handle_of(digest(OTHER))))) == 1 + MANY


def test_tasks_that_patch_different_names_lose_nothing(bench: Bench, clock: Clock) -> None:
    async def main() -> Session | None:
        async with AsyncSessionStore(bench.log(), clock=clock) as store:
            await store.create("alice", token=OTHER)
            jobs = (store.patch(OTHER, {f"k{n}": 1}) for n in range(MANY))
            assert all(await asyncio.gather(*jobs))
            return await store.get(OTHER)

    assert some(asyncio.run(main())).attributes == {f"k{n}": 1 for n in range(MANY)}


def test_of_patches_of_one_name_the_last_wins(bench: Bench, clock: Clock) -> None:
    store = SessionStore(bench.log(), clock=clock)
    store.create("alice", token=OTHER)
    patched = concurrently(
        *[lambda n=n: some(store.patch(OTHER, {"k": n})) for n in range(MANY)],
    )
    last = max(patched, key=lambda session: session.version)
    assert some(store.get(OTHER)).attributes == last.attributes


def test_of_patches_that_expect_one_version_one_wins(bench: Bench, clock: Clock) -> None:
    store = SessionStore(bench.log(), clock=clock)
    version = store.create("alice", token=OTHER).version

    def patch(n: int) -> Session | VersionConflict | None:
        try:
            return store.patch(OTHER, {"k": n}, if_version=version)
        except VersionConflict as error:
            return error

    answers = concurrently(*[lambda n=n: patch(n) for n in range(MANY)])
    winners = [answer for answer in answers if isinstance(answer, Session)]
    losers = [answer for answer in answers if isinstance(answer, VersionConflict)]
    assert (len(winners), len(losers)) == (1, MANY - 1)
    assert {loser.current for loser in losers} == {winners[0].version}
    assert some(store.get(OTHER)).attributes == winners[0].attributes


def test_a_request_that_ends_with_saving_never_undoes_an_expiry(store: SessionStore) -> None:
    read = some(store.authenticate(TOKEN))
    store.expire(TOKEN)
    assert store.patch(TOKEN, read.attributes | {"saved": True}) is None
    assert store.patch(handle=read.handle, changes={"saved": True}) is None
    assert store.touch(TOKEN, attributes=read.attributes) is None
    assert store.get(TOKEN) is None
    assert store.head().id == 2


def test_attributes_grow_no_larger_than_the_policy_allows(bench: Bench) -> None:
    store = bench.open(policy=Policy(max_attributes_bytes=200))
    store.create("bob", token=OTHER)
    with pytest.raises(InvalidSession):
        for n in range(100):
            store.patch(OTHER, {f"key{n}": n})
    assert len(str(some(store.get(OTHER)).attributes)) < 300
