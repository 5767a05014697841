"""Beginning sessions: what is for nobody yet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sessionledger import ANONYMOUS, InvalidSession, Policy, SessionStore
from tests.store.facade import Bench
from tests.store.test_store import some


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
