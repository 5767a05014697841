"""Touching by handle, and the ends that a touch and a patch give."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionledger import (
    NEVER,
    InvalidSession,
    IssuedSession,
    Policy,
    SessionStore,
    VersionConflict,
)
from sessionledger.core.token import digest, handle_of
from sessionledger.testing.clock import NOON, Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench
from tests.store.test_store import some

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
GRACE = timedelta(seconds=30)
ZERO = timedelta(0)
HANDLE = handle_of(digest(TOKEN))
NAMES: list[dict[str, Any]] = [{"token": TOKEN}, {"handle": HANDLE}]


def begin(store: SessionStore) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR, attributes={"a": 1})


def rotated(store: SessionStore) -> IssuedSession:
    issued = store.rotate(TOKEN, grace=GRACE)
    assert issued is not None
    return issued


def test_a_handle_is_touched_as_its_token_is(store: SessionStore, clock: Clock) -> None:
    begin(store)
    clock.advance(MINUTE)
    touched = some(store.touch(handle=HANDLE, ttl=2 * HOUR, attributes={"b": 2}, actor="root"))
    assert (touched.last_seen_at, touched.expires_at) == (NOON + MINUTE, NOON + MINUTE + 2 * HOUR)
    assert touched == store.get(TOKEN)
    assert touched.attributes == {"b": 2}
    assert list(store.history(handle=HANDLE))[-1].actor == "root"
    tellings: list[dict[str, Any]] = [{"token": TOKEN, "handle": HANDLE}, {}, {"handle": TOKEN}]
    for told in tellings:
        with pytest.raises(InvalidSession) as caught:
            store.touch(**told)
        assert TOKEN not in str(caught.value)
    assert store.head().id == 2


@pytest.mark.parametrize("named", NAMES, ids=["token", "handle"])
@pytest.mark.parametrize("call", ["touch", "patch"])
def test_no_time_to_live_ends_the_session_and_its_family(
    store: SessionStore, call: str, named: dict[str, Any]
) -> None:
    begin(store)
    successor = rotated(store)
    before = store.head().id
    ended = some(getattr(store, call)(ttl=ZERO, **named))
    assert ended.ended_at == NOON
    assert ended.cause == ("signed_out" if "token" in named else "revoked")
    assert store.get(TOKEN) is store.get(successor.token) is None
    assert store.head().id == before + 2, "an end of each"
    assert getattr(store, call)(ttl=HOUR, **named, **changes(call)) is None


def changes(call: str) -> dict[str, Any]:
    return {"changes": {}} if call == "patch" else {}


def test_an_end_by_a_patch_keeps_to_the_version(store: SessionStore) -> None:
    begin(store)
    version = some(store.get(TOKEN)).version
    store.patch(TOKEN, {"b": 1})
    with pytest.raises(VersionConflict):
        store.patch(TOKEN, ttl=ZERO, if_version=version)
    assert store.get(TOKEN) is not None
    assert store.patch(TOKEN, ttl=ZERO, if_version=version + 1) is not None
    assert store.get(TOKEN) is None


def test_less_than_no_time_and_two_ends_are_refused(store: SessionStore) -> None:
    begin(store)
    wrong: list[dict[str, Any]] = [
        {"ttl": -MINUTE},
        {"ttl": ZERO, "expires_at": NOON + HOUR},
        {"expires_at": NOON},
    ]
    for told in wrong:
        with pytest.raises(InvalidSession):
            store.touch(TOKEN, **told)
        with pytest.raises(InvalidSession):
            store.patch(TOKEN, {"a": 2}, **told)
    with pytest.raises(InvalidSession):
        store.create("bob", ttl=ZERO)
    assert store.head().id == 1


def test_a_patch_moves_the_end_by_the_same_event(store: SessionStore, clock: Clock) -> None:
    begin(store)
    clock.advance(MINUTE)
    patched = some(store.patch(TOKEN, {"b": 2}, ttl=2 * HOUR))
    assert patched.attributes == {"a": 1, "b": 2}
    assert patched.expires_at == NOON + MINUTE + 2 * HOUR
    assert patched.last_seen_at == NOON, "it is no sighting"
    assert store.head().id == 2
    moved = some(store.patch(TOKEN, {}, expires_at=NOON + HOUR))
    assert (moved.expires_at, moved.attributes) == (NOON + HOUR, {"a": 1, "b": 2})
    assert store.head().id == 3
    assert some(store.patch(TOKEN, {"b": 2}, expires_at=NOON + HOUR)).version == 3
    assert store.head().id == 3, "what stays is not written"


def test_a_patch_moves_no_end_past_the_deadline(bench: Bench) -> None:
    store = bench.open(policy=Policy(absolute_timeout=HOUR))
    begin(store)
    assert some(store.patch(TOKEN, {"b": 1}, ttl=2 * HOUR)).expires_at == NOON + HOUR


def test_through_a_rotated_token_the_end_moves_for_what_stands_for_it(
    store: SessionStore, clock: Clock
) -> None:
    begin(store)
    successor = rotated(store)
    patched = some(store.patch(TOKEN, {"b": 1}, ttl=3 * HOUR))
    assert patched.expires_at == NOON + GRACE, "no patch stretches a grace"
    assert some(store.get(successor.token)).expires_at == NOON + 3 * HOUR


def test_a_patch_brings_no_sibling_back(store: SessionStore, clock: Clock) -> None:
    begin(store)
    first = rotated(store)
    second = rotated(store)
    store.patch(first.token, {}, ttl=timedelta(seconds=5))
    clock.advance(timedelta(seconds=10))
    assert store.get(first.token) is None
    store.patch(TOKEN, {"b": 1}, ttl=HOUR)
    assert store.get(first.token) is None
    assert some(store.get(second.token)).expires_at == NOON + timedelta(seconds=10) + HOUR


def test_an_end_that_never_comes_has_a_name(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, expires_at=NEVER)
    store.create("bob", token=OTHER, ttl=HOUR)
    store.touch(OTHER, expires_at=NEVER)
    clock.advance(timedelta(days=365_000))
    assert some(store.get(TOKEN)).expires_at == some(store.authenticate(OTHER)).expires_at == NEVER
    assert store.sweep() == 0
    east = timedelta(hours=23, minutes=59)
    assert NEVER + east < NEVER.replace(hour=23, minute=59, second=59)


def test_an_absolute_timeout_comes_before_never(bench: Bench) -> None:
    store = bench.open(policy=Policy(absolute_timeout=HOUR))
    assert store.create("alice", expires_at=NEVER).expires_at == NOON + HOUR
