"""Children: sessions below another one, which do no more, live no longer and end with it."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from sessionledger import (
    Change,
    DuplicateSession,
    InvalidSession,
    IssuedSession,
    LogEvent,
    Policy,
    Session,
    SessionLimitReached,
    SessionStore,
    Unit,
)
from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.clock import Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ATTRIBUTES = {"role": "operator", "tenant": 7, "scope": "read write admin"}


@pytest.fixture(autouse=True)
def parent(store: SessionStore) -> IssuedSession:
    return store.create("alice", token=TOKEN, ttl=HOUR, attributes=ATTRIBUTES)


def begun(store: SessionStore, parent: str = TOKEN, who: str = "bot", **told: Any) -> IssuedSession:
    """A child."""
    return store.create(who, parent=parent, **told)


def causes(store: SessionStore, session: Session) -> list[str | None]:
    return [entry.cause for entry in store.history(handle=session.handle) if entry.cause]


def are_over(store: SessionStore, *tokens: str) -> bool:
    return not any(store.get(token) for token in tokens)


def test_a_child_names_its_parents(store: SessionStore, parent: Session) -> None:
    child = begun(store, attributes={"tenant": 7, "scope": "admin read"})
    grandchild = begun(store, child.handle, "tool")
    assert child.parent == parent.handle
    assert [one.principal for one in grandchild.ancestors] == ["bot", "alice"]
    assert [one.family for one in grandchild.ancestors] == [child.handle, parent.handle]
    assert store.get(grandchild.token) == grandchild
    assert grandchild.token not in repr(grandchild)
    first, *_ = list(store.history(handle=child.handle))
    assert first.changes["ancestors"] == child.ancestors


def test_the_first_child_alone_marks_its_parent(store: SessionStore, parent: Session) -> None:
    begun(store)
    begun(store)
    kinds = [entry.kind for entry in store.history(handle=parent.handle)]
    assert kinds == ["session_created", "session_touched"]
    marked = store.find(handle=parent.handle)
    assert marked is not None
    assert marked.has_children
    assert (marked.last_seen_at, marked.expires_at) == (parent.last_seen_at, parent.expires_at)


@pytest.mark.parametrize(
    "attributes",
    [
        {"role": "admin"},
        {"other": 1},
        {"tenant": 7.0},
        {"tenant": True},
        {"scope": "read delete"},
        {"scope": ["read"]},
    ],
)
def test_a_child_may_do_no_more_than_its_parent(
    store: SessionStore, attributes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidSession) as refused:
        begun(store, attributes=attributes)
    assert refused.value.field == "attributes"
    child = begun(store, attributes={"scope": "read"})
    with pytest.raises(InvalidSession):
        store.patch(child.token, attributes)
    with pytest.raises(InvalidSession):
        store.touch(child.token, attributes=attributes)
    assert store.get(child.token) == child
    assert store.count() == 2


def test_what_a_parent_loses_its_children_lose_in_the_same_unit(
    store: SessionStore, parent: IssuedSession
) -> None:
    child = begun(store, attributes=ATTRIBUTES)
    grandchild = begun(store, child.token, attributes={"scope": "write read"})
    before = store.head().id
    store.patch(parent.token, {"tenant": 8, "role": None, "scope": "write", "new": 1})
    assert found(store, child).attributes == {"scope": "write"}
    assert found(store, grandchild).attributes == {"scope": "write"}
    told = [event.headers["sessionledger.unit"] for event in store.events(after=before)]
    assert told == ["1/3", "2/3", "3/3"]
    store.touch(parent.token, attributes={"new": 1})
    assert found(store, grandchild).attributes == {}


def found(store: SessionStore, session: IssuedSession) -> Session:
    """The live session, which there has to be."""
    session_now = store.get(session.token)
    assert session_now is not None
    return session_now


def test_a_child_lives_no_longer_than_its_parent(
    store: SessionStore, parent: IssuedSession, clock: Clock
) -> None:
    child = begun(store, ttl=10 * HOUR)
    short = begun(store, ttl=MINUTE)
    assert child.expires_at == parent.expires_at
    assert short.expires_at == clock.now + MINUTE
    longer = store.touch(short.token, ttl=10 * HOUR)
    assert longer is not None
    assert longer.expires_at == parent.expires_at
    store.touch(parent.token, ttl=10 * MINUTE)
    assert found(store, child).expires_at == clock.now + 10 * MINUTE
    clock.advance(10 * MINUTE)
    assert are_over(store, child.token, short.token)


def test_a_child_of_a_parent_that_idles_out_follows_its_end(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(idle_timeout=30 * MINUTE))
    parent = store.create("alice", ttl=10 * HOUR)
    child = store.create("bot", parent=parent.token, ttl=9 * HOUR, idle_timeout=2 * HOUR)
    assert child.expires_at == parent.expires_at
    clock.advance(20 * MINUTE)
    assert store.authenticate(parent.token) is not None
    assert store.get(child.token) == child
    seen = store.authenticate(child.token)
    assert seen is not None
    assert seen.expires_at == clock.now + 30 * MINUTE
    clock.advance(30 * MINUTE)
    assert store.authenticate(child.token) is None


@pytest.mark.parametrize("end", ["expire", "revoke", "revoke_all", "sweep"])
def test_all_below_a_session_ends_with_it_and_nothing_else(
    store: SessionStore, parent: IssuedSession, clock: Clock, end: str
) -> None:
    other = store.create("carol", ttl=10 * HOUR)
    child = begun(store)
    sibling = begun(store)
    below = begun(store, child.token, "tool")
    if end == "expire":
        store.expire(child.token)
        assert are_over(store, child.token, below.token)
        assert not are_over(store, TOKEN, sibling.token)
        store.expire(parent.token)
    elif end == "revoke":
        store.revoke(handle=parent.handle)
    elif end == "revoke_all":
        assert store.revoke_all("alice") == 1
    else:
        clock.advance(2 * HOUR)
        store.sweep()
    assert are_over(store, TOKEN, child.token, sibling.token, below.token)
    assert found(store, other)
    assert store.count() == 1
    if end != "sweep":
        assert causes(store, below) == causes(store, sibling) == ["parent_ended"]


def test_the_ends_of_children_stand_before_that_of_their_parent(
    store: SessionStore, parent: Session
) -> None:
    child = begun(store)
    before = store.head().id
    store.revoke(handle=parent.handle, reason="stolen", actor="admin")
    events = list(store.events(after=before))
    assert [event.value["token_handle"] for event in events] == [child.handle, parent.handle]
    entry = list(store.history(handle=child.handle))[-1]
    assert (entry.cause, entry.reason, entry.actor) == ("parent_ended", "stolen", "admin")


def test_a_rotated_parent_keeps_its_children(
    store: SessionStore, parent: IssuedSession, clock: Clock
) -> None:
    child = begun(store)
    newer = store.rotate(parent.token)
    assert newer is not None
    again = begun(store, newer.token)
    within_grace = begun(store, parent.token)
    assert {child.parent, again.parent, within_grace.parent} == {parent.handle}
    clock.advance(30 * MINUTE)
    store.sweep()
    assert store.touch(child.token) is not None
    assert causes(store, parent) == ["lapsed"]
    store.expire(newer.token)
    assert are_over(store, child.token, again.token, within_grace.token)


def test_a_rotated_child_stays_one(store: SessionStore, parent: IssuedSession) -> None:
    child = begun(store, attributes={"scope": "read"})
    newer = store.rotate(child.token)
    assert newer is not None
    assert (newer.ancestors, newer.family) == (child.ancestors, child.handle)
    assert newer.attributes == {"scope": "read"}
    with pytest.raises(InvalidSession) as refused:
        store.rotate(newer.token, principal="mallory")
    assert refused.value.field == "principal"
    store.expire(parent.token)
    assert are_over(store, child.token, newer.token)


def test_a_log_in_ends_the_children_of_the_session_before_it(
    store: SessionStore, parent: IssuedSession
) -> None:
    child = begun(store)
    bob = store.rotate(parent.token, principal="bob", grace=MINUTE)
    assert bob is not None
    assert are_over(store, child.token)
    assert causes(store, child) == ["parent_ended"]
    assert found(store, parent)


def test_a_reused_token_ends_the_children_too(
    store: SessionStore, parent: IssuedSession, clock: Clock
) -> None:
    newer = store.rotate(parent.token)
    assert newer is not None
    child = begun(store, newer.token)
    clock.advance(MINUTE + CLOCK_TOLERANCE)
    with pytest.raises(InvalidSession) as refused:
        begun(store, parent.token)
    assert refused.value.field == "parent"
    assert are_over(store, newer.token, child.token)


@pytest.mark.parametrize("name", ["ended", "unknown", "unknown handle", "garbage", "number"])
def test_a_parent_has_to_be_a_live_session(store: SessionStore, name: str) -> None:
    named: Any = {
        "ended": TOKEN,
        "unknown": OTHER,
        "unknown handle": "sha256:v1:" + "0" * 64,
        "garbage": "short",
        "number": 7,
    }[name]
    if name == "ended":
        store.expire(TOKEN)
    before = store.head().id
    with pytest.raises(InvalidSession) as refused:
        begun(store, named)
    assert refused.value.field == "parent"
    assert TOKEN not in str(refused.value)
    assert store.head().id == before


def test_a_parent_in_another_topic_is_none(bench: Bench, parent: Session) -> None:
    elsewhere = bench.open(topic="elsewhere")
    for named in (TOKEN, parent.handle):
        with pytest.raises(InvalidSession) as refused:
            begun(elsewhere, named)
        assert refused.value.field == "parent"


def test_nobody_is_a_child_of_itself(store: SessionStore, parent: Session) -> None:
    with pytest.raises(InvalidSession):
        store.create("bot", token=OTHER, parent=OTHER)
    with pytest.raises(DuplicateSession):
        store.create("bot", token=TOKEN, parent=TOKEN)
    child = begun(store, token=OTHER)
    with pytest.raises(DuplicateSession):
        store.create("alice", token=TOKEN, parent=child.token)


def test_a_cycle_that_another_program_wrote_is_never_prolonged_and_can_be_ended(
    bench: Bench, store: SessionStore
) -> None:
    """No call of ours can write one: a child names what was there before it."""
    if not bench.persists:
        return
    first, second = begun(store, who="first"), begun(store, who="second")
    made = [event.value for event in store.events() if event.kind == "session_created"][-2:]
    elsewhere = bench.open(topic="cycle")
    for event, above in zip(made, (second, first), strict=True):
        event["record"]["ancestors"] = [{"family": above.handle, "principal": above.principal}]
    with closing(bench.log()) as other:
        events = [LogEvent.of("session_created", one, occurred_at_ms=1) for one in made]
        other.append("cycle", [Unit([Change(event)]) for event in events])
    assert elsewhere.count() == 2
    for child in (first, second):
        with pytest.raises(SessionLimitReached):
            bench.open(topic="cycle", policy=Policy(max_child_depth=1)).create(
                "tool", parent=child.handle
            )
    assert elsewhere.touch(first.token) is None
    for child in (first, second):
        assert elsewhere.revoke(handle=child.handle) is not None
    assert are_over(elsewhere, first.token, second.token)
    assert elsewhere.verify().ok


def test_depth_and_number_are_bounded(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(max_children=4, max_child_depth=2))
    parent = store.create("alice", ttl=10 * HOUR)
    child = store.create("bot", parent=parent.token)
    below = store.create("tool", parent=child.token, ttl=HOUR)
    with pytest.raises(SessionLimitReached):
        store.create("deep", parent=below.token)
    assert store.rotate(child.token) is not None
    for _ in range(2):
        store.create("bot", parent=parent.token)
    before = store.head()
    with pytest.raises(SessionLimitReached):
        store.create("bot", parent=parent.token)
    assert store.head() == before
    clock.advance(HOUR)
    store.create("bot", parent=parent.token)
    assert causes(store, below) == ["lapsed"]


def test_children_do_not_count_as_sessions_of_their_principal(bench: Bench) -> None:
    for on_limit in ("deny", "evict_oldest"):
        store = bench.open(policy=Policy(max_sessions_per_principal=1, on_limit=on_limit))
        parent = store.create(on_limit)
        children = [store.create(on_limit, parent=parent.token) for _ in range(3)]
        if on_limit == "deny":
            with pytest.raises(SessionLimitReached):
                store.create(on_limit)
            assert found(store, parent)
        else:
            store.create(on_limit)
            assert are_over(store, parent.token, *(child.token for child in children))


def test_unique_principals_count_children(bench: Bench) -> None:
    store = bench.open(policy=Policy(unique_principals=True, max_children=2))
    parent = store.create("first")
    child = store.create("second", parent=parent.token)
    for name in ("first", "second"):
        with pytest.raises(SessionLimitReached):
            store.create(name)
        with pytest.raises(SessionLimitReached):
            store.create(name, parent=parent.token)
    store.create("third", parent=child.token)
    with pytest.raises(SessionLimitReached):
        store.create("fourth", parent=parent.token)
    store.expire(child.token)
    assert store.create("second", parent=parent.token)


def test_no_token_of_a_parent_is_stored(store: SessionStore) -> None:
    given = "a-token-that-was-given-0123456789abcdef"
    store.create("alice", token=given, attributes={"note": given[:-1]})
    with pytest.raises(InvalidSession) as refused:
        begun(store, given, context={"seen": given})
    assert given not in str(refused.value)


def test_an_end_that_another_program_wrote_takes_the_children_along(
    bench: Bench, store: SessionStore, parent: Session
) -> None:
    if not bench.persists:
        return
    child = begun(store)
    below = begun(store, child.token, "tool")
    told = {"token_handle": parent.handle, "expired_at": "2026-05-02T12:00:00Z"}
    with closing(bench.log()) as other:
        other.append(
            SESSIONS_TOPIC, [Unit([Change(LogEvent.of("session_expired", told, occurred_at_ms=1))])]
        )
    assert are_over(store, below.token, TOKEN, child.token)
    assert causes(store, below) == causes(store, child) == ["parent_ended"]
    assert store.verify().ok
    assert store.diagnose() == []
    head = store.head()
    store.rebuild()
    assert store.head() == head
    assert are_over(store, below.token, child.token)
