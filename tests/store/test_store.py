"""A session's life: created, read, touched, ended; on both stores and every embedded log."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from sessionledger import DuplicateSession, Policy, Session, SessionStore
from sessionledger.core.token import digest, handle_of
from sessionledger.testing.clock import NOON, Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SLIDING = Policy(ttl=HOUR, idle_timeout=10 * MINUTE)


def some(session: Session | None) -> Session:
    """The session that has to be there."""
    assert session is not None
    return session


@pytest.fixture
def sliding(bench: Bench) -> SessionStore:
    return bench.open(policy=SLIDING)


def test_a_created_session_is_what_get_answers(store: SessionStore) -> None:
    issued = store.create(" alice ", ttl=HOUR, attributes={"role": "operator"})
    expected = Session(
        handle=handle_of(digest(issued.token)),
        principal="alice",
        created_at=NOON,
        last_seen_at=NOON,
        expires_at=NOON + HOUR,
        attributes={"role": "operator"},
        version=1,
        generated=True,
    )
    assert store.get(issued.token) == expected == issued
    assert store.find(handle=issued.handle) == expected


def test_the_policy_says_how_long_when_nobody_else_does(bench: Bench) -> None:
    store = bench.open(policy=Policy(ttl=3 * HOUR))
    assert store.create("alice").expires_at == NOON + 3 * HOUR
    assert store.create("alice", expires_at=NOON + HOUR).expires_at == NOON + HOUR
    assert store.create("alice", created_at=NOON - HOUR).expires_at == NOON + 2 * HOUR


def test_white_space_around_a_token_is_nothing(store: SessionStore) -> None:
    assert store.create("alice", token=f"\u3000{TOKEN}\n").token == TOKEN
    assert store.get(f" {TOKEN}\t") == store.get(TOKEN) is not None
    assert store.touch(f"{TOKEN}\r\n") is not None
    assert store.expire(f"  {TOKEN}") is not None


def test_offsets_are_kept_as_they_were_given(store: SessionStore) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    store.create("alice", token=TOKEN, expires_at=(NOON + HOUR).astimezone(zone))
    assert some(store.get(TOKEN)).expires_at.utcoffset() == zone.utcoffset(None)


def test_what_was_read_can_be_changed_without_changing_the_session(store: SessionStore) -> None:
    given = {"roles": ["reader"]}
    store.create("alice", token=TOKEN, attributes=given)
    given["roles"].append("admin")
    some(store.get(TOKEN)).attributes["roles"].append("admin")
    assert some(store.get(TOKEN)).attributes == {"roles": ["reader"]}


def test_unknown_sessions_are_none_and_nothing_is_written(store: SessionStore) -> None:
    handle = handle_of(digest(OTHER))
    assert store.get(OTHER) is store.touch(OTHER) is store.expire(OTHER) is None
    assert store.expire(OTHER, expired_at=NOON) is None
    assert store.find(handle=handle) is store.revoke(handle=handle) is None
    assert list(store.history(handle=handle)) == []
    assert store.head().id == 0


def test_a_session_lapses_at_its_expiry_to_the_microsecond(
    store: SessionStore, clock: Clock
) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR)
    clock.advance(HOUR - timedelta(microseconds=1))
    assert store.get(TOKEN) is not None
    clock.advance(timedelta(microseconds=1))
    assert store.get(TOKEN) is store.touch(TOKEN) is None
    assert store.get(TOKEN, now=NOON) is not None
    assert store.head().id == 1


def test_touching_tells_when_it_was_seen_and_keeps_the_rest(
    store: SessionStore, clock: Clock
) -> None:
    issued = store.create("alice", token=TOKEN, ttl=HOUR, attributes={"a": 1})
    clock.advance(MINUTE)
    seen = some(store.touch(TOKEN))
    assert (seen.last_seen_at, seen.version) == (NOON + MINUTE, 2)
    assert (seen.expires_at, seen.attributes) == (issued.expires_at, issued.attributes)
    assert store.get(TOKEN) == seen


def test_touching_replaces_what_it_is_given(store: SessionStore) -> None:
    store.create("alice", token=TOKEN, attributes={"a": 1, "b": 2})
    assert some(store.touch(TOKEN, attributes={"c": 3})).attributes == {"c": 3}
    assert some(store.touch(TOKEN)).attributes == {"c": 3}
    assert some(store.touch(TOKEN, attributes={})).attributes == {}
    assert some(store.touch(TOKEN, ttl=HOUR)).expires_at == NOON + HOUR
    assert some(store.touch(TOKEN, expires_at=NOON + 2 * HOUR)).expires_at == NOON + 2 * HOUR


def test_an_earlier_sighting_does_not_take_back_a_later_one(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    assert some(store.touch(TOKEN, last_seen_at=NOON + MINUTE)).last_seen_at == NOON + MINUTE
    assert some(store.touch(TOKEN, last_seen_at=NOON)).last_seen_at == NOON + MINUTE


def test_a_lapsed_session_is_renewed_only_as_of_when_it_was_live(
    store: SessionStore, clock: Clock
) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR)
    clock.advance(2 * HOUR)
    assert store.touch(TOKEN, ttl=HOUR) is None
    renewed = store.touch(TOKEN, last_seen_at=NOON + MINUTE, expires_at=NOON + 3 * HOUR)
    assert store.get(TOKEN) == renewed is not None


def test_the_expiry_slides_and_never_passes_the_deadline(
    sliding: SessionStore, clock: Clock
) -> None:
    issued = sliding.create("alice", token=TOKEN)
    assert (issued.expires_at, issued.deadline) == (NOON + 10 * MINUTE, NOON + HOUR)
    for minutes in range(9, 60, 9):
        clock.now = NOON + minutes * MINUTE
        touched = some(sliding.touch(TOKEN))
        assert touched.expires_at == NOON + min(minutes + 10, 60) * MINUTE
        assert touched.deadline == NOON + HOUR
    clock.now = NOON + HOUR
    assert sliding.touch(TOKEN) is sliding.get(TOKEN) is None


def test_a_session_left_idle_lapses(sliding: SessionStore, clock: Clock) -> None:
    sliding.create("alice", token=TOKEN)
    clock.advance(10 * MINUTE)
    assert sliding.get(TOKEN) is sliding.touch(TOKEN) is None


def test_an_explicit_expiry_is_the_deadline_where_sessions_slide(
    sliding: SessionStore, clock: Clock
) -> None:
    far = sliding.create("alice", expires_at=NOON + 20 * MINUTE)
    near = sliding.create("alice", ttl=5 * MINUTE)
    assert (far.expires_at, far.deadline) == (NOON + 10 * MINUTE, NOON + 20 * MINUTE)
    assert near.expires_at == near.deadline == NOON + 5 * MINUTE
    clock.advance(4 * MINUTE)
    assert some(sliding.touch(near.token)).expires_at == NOON + 5 * MINUTE
    assert some(sliding.touch(far.token, ttl=HOUR)).expires_at == NOON + 20 * MINUTE
    assert some(sliding.touch(far.token, expires_at=NOON + HOUR)).deadline == far.deadline


def test_sliding_never_shortens_what_was_promised(sliding: SessionStore, clock: Clock) -> None:
    sliding.create("alice", token=TOKEN)
    long = some(sliding.touch(TOKEN, ttl=30 * MINUTE))
    clock.advance(MINUTE)
    assert some(sliding.touch(TOKEN)).expires_at == long.expires_at == NOON + 30 * MINUTE
    assert some(sliding.touch(TOKEN, ttl=MINUTE)).expires_at == NOON + 2 * MINUTE


def test_a_sighting_of_another_time_does_not_slide(sliding: SessionStore) -> None:
    issued = sliding.create("alice", token=TOKEN)
    touched = some(sliding.touch(TOKEN, last_seen_at=NOON + MINUTE))
    assert touched.expires_at == issued.expires_at


def test_a_session_without_a_deadline_keeps_its_expiry_under_a_sliding_policy(
    bench: Bench, clock: Clock
) -> None:
    log = bench.log()
    issued = bench.on(log).create("alice", token=TOKEN, ttl=HOUR)
    clock.advance(55 * MINUTE)
    assert some(bench.on(log, policy=SLIDING).touch(TOKEN)).expires_at == issued.expires_at


def test_ended_stays_ended(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN)
    clock.advance(MINUTE)
    ended = some(store.expire(TOKEN))
    assert ended.ended_at == ended.expires_at == NOON + MINUTE
    assert store.get(TOKEN) is store.get(TOKEN, now=NOON) is store.find(handle=ended.handle) is None
    assert store.touch(TOKEN) is store.touch(TOKEN, last_seen_at=NOON, ttl=HOUR) is None
    assert store.touch(TOKEN, last_seen_at=NOON, expires_at=NOON + HOUR) is None
    assert store.head().id == 2


def test_expiring_again_without_a_time_writes_nothing(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN)
    ended = some(store.expire(TOKEN, reason="logout"))
    clock.advance(MINUTE)
    assert store.expire(TOKEN) == ended
    assert store.revoke(handle=ended.handle, reason="again") == ended
    assert store.head().id == 2


def test_expiring_again_with_a_time_moves_the_end_only_back(
    store: SessionStore,
) -> None:
    store.create("alice", token=TOKEN, created_at=NOON - HOUR)
    ended = some(store.expire(TOKEN))
    assert some(store.expire(TOKEN, expired_at=NOON + HOUR)).ended_at == ended.ended_at
    earlier = some(store.expire(TOKEN, expired_at=NOON - MINUTE))
    assert earlier.ended_at == earlier.expires_at == NOON - MINUTE


def test_a_lapsed_session_can_still_be_ended(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, ttl=MINUTE)
    clock.advance(HOUR)
    ended = some(store.expire(TOKEN))
    assert ended.expires_at == ended.ended_at == NOON + MINUTE
    assert store.touch(TOKEN, last_seen_at=NOON, ttl=2 * HOUR) is None


def test_an_end_in_the_future_ends_it_now(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    assert some(store.expire(TOKEN, expired_at=NOON + HOUR)).ended_at == NOON + HOUR
    assert store.get(TOKEN) is store.touch(TOKEN) is None


def test_used_tokens_are_never_free_again(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR)
    store.create("alice", token=OTHER, ttl=HOUR)
    store.expire(OTHER)
    for _ in range(2):
        for token in (TOKEN, OTHER, f" {TOKEN} "):
            with pytest.raises(DuplicateSession) as refused:
                store.create("mallory", token=token)
            assert token.strip() not in str(refused.value)
        clock.advance(2 * HOUR)
    assert store.head().id == 3
