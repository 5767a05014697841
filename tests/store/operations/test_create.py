"""Beginning sessions: what is for nobody yet, and what is found or begun."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sessionledger import (
    ANONYMOUS,
    InvalidSession,
    IssuedSession,
    Policy,
    Session,
    SessionLimitReached,
    SessionStore,
)
from sessionledger.testing.clock import Clock
from sessionledger.testing.fixtures import concurrently
from tests.store.facade import URLS, Bench
from tests.store.test_store import some

HOUR = timedelta(hours=1)


def test_each_anonymous_session_is_somebody_else(bench: Bench) -> None:
    store = bench.open(policy=Policy(max_sessions_per_principal=1))
    one, other = store.create(ANONYMOUS), store.create(ANONYMOUS)
    assert one.is_anonymous
    assert one.principal != other.principal
    assert store.log_out_everywhere(one.token) == 1
    assert some(store.get(other.token)).is_anonymous
    assert [found.handle for found in store.sessions(principal=other.principal)] == [other.handle]


def test_an_anonymous_session_becomes_somebodys_and_nobody_becomes_anonymous(
    store: SessionStore,
) -> None:
    visitor = store.create(ANONYMOUS)
    renewed = store.rotate(visitor.token)
    assert renewed is not None
    assert renewed.principal == visitor.principal
    alice = store.rotate(renewed.token, principal="alice", grace=timedelta(0))
    assert alice is not None
    assert not alice.is_anonymous
    with pytest.raises(InvalidSession) as caught:
        store.rotate(alice.token, principal=ANONYMOUS)
    assert caught.value.field == "principal"


def test_what_is_below_an_anonymous_session_is_anonymous_too(store: SessionStore) -> None:
    visitor = store.create(ANONYMOUS)
    child = store.create("agent", parent=visitor.token)
    below = store.create("tool", parent=child.token)
    assert some(store.get(below.token)).is_anonymous
    assert not store.create("tool", parent=store.create("alice").token).is_anonymous


def begun(*answers: Session) -> list[Session]:
    return [one for one in answers if isinstance(one, IssuedSession)]


def test_it_finds_what_it_began_until_that_is_over(store: SessionStore) -> None:
    first = store.find_or_create("alice", external_id="cart", ttl=HOUR, attributes={"a": 1})
    assert isinstance(first, IssuedSession)
    assert store.get(first.token) == first
    before = store.head()
    again = store.find_or_create("alice", external_id="cart", attributes={"a": 2})
    assert again == store.get(first.token)
    assert not isinstance(again, IssuedSession)
    assert store.head() == before, "finding writes nothing"
    assert begun(store.find_or_create("bob", external_id="cart")), "it is another principal's"
    store.revoke(handle=first.handle)
    assert begun(store.find_or_create("alice", external_id="cart"))


def test_it_finds_the_successor_of_what_was_rotated(store: SessionStore) -> None:
    first = store.find_or_create("alice", external_id="cart")
    successor = store.rotate(handle=first.handle)
    assert successor is not None
    assert store.find_or_create("alice", external_id="cart").handle == successor.handle


def test_what_lapsed_is_not_found(store: SessionStore, clock: Clock) -> None:
    store.find_or_create("alice", external_id="cart", ttl=HOUR)
    clock.advance(HOUR)
    assert begun(store.find_or_create("alice", external_id="cart", ttl=HOUR))


def test_a_limit_holds_where_one_is_begun(bench: Bench) -> None:
    store = bench.open(policy=Policy(max_sessions_per_principal=1))
    store.find_or_create("alice", external_id="cart")
    assert not begun(store.find_or_create("alice", external_id="cart"))
    with pytest.raises(SessionLimitReached):
        store.find_or_create("alice", external_id="other")


@pytest.mark.parametrize("backend", ["memory", "sqlite", "file"])
def test_of_many_at_once_one_begins_it(backend: str, tmp_path: Path) -> None:
    url = URLS[backend](tmp_path / "ledger")
    with ExitStack() as stack:
        first = stack.enter_context(SessionStore.open(url))
        others = 3 if backend == "sqlite" else 0
        stores = [first, *(stack.enter_context(SessionStore.open(url)) for _ in range(others))]
        for number in range(16):
            sharing = [stores[one % len(stores)] for one in range(4)]
            answers = concurrently(
                *(partial(one.find_or_create, "al", external_id=str(number)) for one in sharing)
            )
            assert len(begun(*answers)) == 1
            assert len({one.handle for one in answers}) == 1


@pytest.mark.parametrize(
    ("principal", "external_id", "field"),
    [("alice", None, "external_id"), ("alice", " ", "external_id"), (ANONYMOUS, "x", "principal")],
)
def test_it_asks_for_a_name_and_a_principal(
    store: SessionStore, principal: str, external_id: Any, field: str
) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.find_or_create(principal, external_id=external_id)
    assert caught.value.field == field
    assert store.head().id == 0
