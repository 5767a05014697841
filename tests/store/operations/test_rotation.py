"""change_credentials: a new token, and nobody else stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionledger import InvalidSession, IssuedSession, Policy, RotationLimitReached, SessionStore
from sessionledger.store.operations import principals
from sessionledger.testing.clock import Clock
from tests.store.facade import Bench
from tests.store.operations.test_families import GRACE, OVER, is_over, rotated
from tests.store.test_store import some

MINUTE = timedelta(minutes=1)


def changed(store: SessionStore, token: str) -> IssuedSession:
    issued = store.change_credentials(token, reason="password changed")
    assert issued is not None
    return issued


def test_it_carries_on_the_session_under_a_new_token(store: SessionStore, clock: Clock) -> None:
    old = store.create("alice", attributes={"cart": [1]}, external_id="sid", context={"a": "b"})
    clock.advance(MINUTE)
    new = changed(store, old.token)
    for name in ("principal", "created_at", "expires_at", "attributes", "external_id", "context"):
        assert getattr(new, name) == getattr(old, name)
    assert (new.authenticated_at, new.last_seen_at) == (clock.now, clock.now)
    assert store.get(new.token) == new
    assert is_over(store, old.token)


def test_all_others_of_the_principal_end_in_the_same_unit(store: SessionStore) -> None:
    old, other, bob = store.create("alice"), store.create("alice"), store.create("bob")
    sibling = rotated(store, rotated(store, old.token).token)
    before = store.head().id
    new = changed(store, old.token)
    assert is_over(store, old.token, other.token, sibling.token)
    assert store.get(bob.token) is not None
    assert [one.handle for one in store.sessions(principal="alice")] == [new.handle]
    events = list(store.events(after=before))
    assert [event.headers["sessionledger.unit"] for event in events] == [
        f"{n}/5" for n in range(1, 6)
    ]
    assert [event.kind for event in events] == ["session_expired"] * 4 + ["session_created"]
    assert {entry.reason for entry in store.history(handle=other.handle)} == {
        None,
        "password changed",
    }


@pytest.mark.parametrize("wait", [timedelta(0), GRACE, OVER])
def test_no_old_token_reaches_the_new_session(
    store: SessionStore, clock: Clock, wait: timedelta
) -> None:
    first = store.create("alice")
    second, third = rotated(store, first.token), rotated(store, first.token)
    held = [first.token, second.token, third.token]
    new = changed(store, second.token)
    clock.advance(wait)
    for token in held:
        assert store.get(token) is store.authenticate(token) is store.rotate(token) is None
        assert store.patch(token, {"role": "thief"}) is store.touch(token) is None
        assert store.change_credentials(token) is store.reauthenticate(token) is None
        assert store.log_out_everywhere(token) == 0
        store.expire(token)
        store.revoke(handle=some(store.as_of(handle=first.handle, at=clock.now)).handle)
    session = some(store.get(new.token))
    assert (session.family, session.successors, session.attributes) == (None, (), {})


def test_a_replaced_token_within_its_grace_still_changes_them(store: SessionStore) -> None:
    """A request of the honest bearer that was under way: the newest of the family goes on."""
    old = store.create("alice")
    newest = rotated(store, old.token)
    store.patch(newest.token, {"seen": "banner"})
    new = changed(store, old.token)
    assert new.attributes == {"seen": "banner"}
    assert is_over(store, old.token, newest.token)


def test_by_handle_it_is_the_same(store: SessionStore) -> None:
    old, other = store.create("alice"), store.create("alice")
    new = some(store.change_credentials(handle=old.handle))
    assert is_over(store, old.token, other.token)
    assert [one.handle for one in store.sessions(principal="alice")] == [new.handle]


def test_of_what_is_not_live_nothing_happens(store: SessionStore, clock: Clock) -> None:
    over, lapsed, other = (
        store.create("alice"),
        store.create("alice", ttl=MINUTE),
        store.create("alice"),
    )
    store.expire(over.token)
    clock.advance(MINUTE)
    before = store.head()
    for token in (over.token, lapsed.token, "x" * 40):
        assert store.change_credentials(token) is None
    assert store.head() == before
    assert store.get(other.token) is not None


def test_reuse_is_seen_and_changes_nothing_else(store: SessionStore, clock: Clock) -> None:
    old, other = store.create("alice"), store.create("alice")
    new = rotated(store, old.token)
    clock.advance(OVER)
    assert store.change_credentials(old.token) is None
    assert is_over(store, new.token)
    assert store.get(other.token) is not None


def test_it_asks_for_a_token_or_a_handle_and_for_nothing_secret(store: SessionStore) -> None:
    old = store.create("alice")
    with pytest.raises(InvalidSession):
        store.change_credentials()
    with pytest.raises(InvalidSession):
        store.change_credentials(old.token, handle=old.handle)
    with pytest.raises(InvalidSession):
        store.change_credentials(old.token, reason=old.token)
    assert store.get(old.token) is not None


def test_a_limit_on_sessions_makes_room_for_itself(bench: Bench) -> None:
    store = bench.on(bench.log(), policy=Policy(max_sessions_per_principal=1))
    assert changed(store, store.create("alice").token)


def test_of_very_many_most_end_before_and_none_stays(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principals, "AT_ONCE", 5)
    monkeypatch.setattr(principals, "A_PAGE", 2)
    tokens = [store.create("alice").token for _ in range(12)]
    new = changed(store, tokens[3])
    assert is_over(store, *tokens)
    assert [one.handle for one in store.sessions(principal="alice")] == [new.handle]


# -- what bounds a family


def test_the_33rd_ends_the_oldest_superseded_one(bench: Bench) -> None:
    store = bench.on(bench.log(), policy=Policy(max_rotations_per_minute=100))
    tokens = [store.create("alice").token]
    for _ in range(31):
        tokens.append(rotated(store, tokens[-1]).token)
    assert all(map(store.get, tokens))
    before = store.head().id
    tokens.append(rotated(store, tokens[-1]).token)
    assert is_over(store, tokens[0])
    assert all(map(store.get, tokens[1:]))
    ended = list(store.history(principal="alice"))[-3]
    assert (ended.cause, store.head().id) == ("evicted", before + 3), "in the same unit"
    bench.clock.advance(OVER)
    assert store.authenticate(tokens[0]) is None
    assert is_over(store, *tokens), "an evicted token that comes back was kept by somebody"


def test_a_family_is_rotated_thirty_times_a_minute_by_any_process(bench: Bench) -> None:
    log = bench.log()
    stores = [bench.on(log), bench.on(log)]
    token = stores[0].create("alice").token
    first, sibling = rotated(stores[0], token).token, rotated(stores[1], token).token
    for number in range(14):
        first = rotated(stores[number % 2], first, grace=timedelta(0)).token
        sibling = rotated(stores[number % 2], sibling).token
    before = stores[0].head()
    for newest in (first, sibling):
        with pytest.raises(RotationLimitReached) as refused:
            bench.on(log).rotate(newest)
        assert refused.value.retry_after == MINUTE
    assert stores[0].head() == before, "nothing was written"
    assert changed(stores[0], first), "which bounds no change of credentials"
    bench.clock.advance(MINUTE)


def test_once_the_minute_is_over_it_goes_on(store: SessionStore, clock: Clock) -> None:
    token = store.create("alice").token
    for _ in range(30):
        token = rotated(store, token).token
    with pytest.raises(RotationLimitReached) as refused:
        store.rotate(token)
    clock.advance(refused.value.retry_after)
    session = rotated(store, token)
    assert len(session.rotations) == 30, "however often it was rotated before"


def test_a_rotation_changes_attributes_in_the_same_unit(store: SessionStore) -> None:
    token = store.create("visitor", attributes={"a": 1, "b": {"c": 1}}).token
    before = store.head().id
    issued = store.rotate(token, principal="alice", changes={"a": None, "b": {"d": 2}})
    assert issued is not None
    assert issued.attributes == {"b": {"c": 1, "d": 2}}
    assert store.get(issued.token) == issued
    assert store.head().id == before + 2
    assert some(store.get(token)).attributes == {"a": 1, "b": {"c": 1}}, "within its grace"
    refused: list[Any] = [[], "x", {"a": float("nan")}]
    for wrong in refused:
        with pytest.raises(InvalidSession) as caught:
            store.rotate(issued.token, changes=wrong)
        assert caught.value.field == "changes"
    assert store.head().id == before + 2


def test_a_child_is_not_rotated_into_more_than_its_parent(store: SessionStore) -> None:
    parent = store.create("alice", attributes={"a": 1})
    child = store.create("agent", parent=parent.token, attributes={"a": 1})
    with pytest.raises(InvalidSession):
        store.rotate(child.token, changes={"b": 1})
    issued = store.rotate(child.token, changes={"a": None})
    assert issued is not None
    assert issued.attributes == {}
