"""Families: what rotating, reuse and limits decide."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger import InvalidSession, Policy, Session, SessionLimitReached
from sessionledger.core.ends import CLOCK_TOLERANCE, end_of
from sessionledger.core.events import Expired, Touched
from sessionledger.core.families import (
    Rotate,
    Rotation,
    belongs_to_family,
    decide_room,
    decide_rotate,
    family_of,
    is_reuse,
    is_rotated,
    newest_of,
)
from sessionledger.core.fold import evolve
from sessionledger.core.lifetimes import Asked
from sessionledger.core.session import State
from sessionledger.core.token import Handle, handle_of
from tests.strategies import HANDLE, START, json_objects

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
POLICY = Policy()
OLD = Session(HANDLE, "anonymous", START, START, START + HOUR, {"cart": [1]}, version=1)

spans = st.integers(0, 7200).map(lambda seconds: timedelta(seconds=seconds))
sessions = st.builds(
    lambda seen, end, deadline, idle, attributes, proved: replace(
        OLD,
        last_seen_at=START + seen,
        expires_at=min(START + SECOND + end, START + SECOND + deadline),
        deadline=START + SECOND + deadline,
        idle_timeout=idle,
        attributes=attributes,
        reauthenticated_at=proved,
        external_id="sid",
        context={"device": "phone"},
    ),
    spans,
    spans,
    spans,
    st.none() | spans.filter(bool),
    json_objects,
    st.none() | spans.map(lambda span: START + span),
)


def handle(number: int) -> Handle:
    return handle_of(bytes([number]) * 32)


def rotated(
    old: Session, *, at: datetime = START, policy: Policy = POLICY, **told: Any
) -> Rotation:
    number = len(old.successors) + 1
    return decide_rotate(old, old, handle(number), Rotate(**told), at, policy)


def after(old: Session, rotation: Rotation) -> tuple[Session, Session]:
    """The old session and its successor, once both events happened, in their order."""
    restricted: State = evolve(old, rotation.restricted)
    successor: State = evolve(None, rotation.created)
    assert isinstance(restricted, Session)
    assert isinstance(successor, Session)
    return restricted, successor


@given(sessions, spans, spans | st.none(), st.sampled_from([None, "alice"]))
def test_no_rotation_makes_a_life_longer(
    old: Session, span: timedelta, grace: timedelta | None, principal: str | None
) -> None:
    now = START + span
    if old.is_expired_at(now):
        return
    rotation = rotated(old, at=now, grace=grace, principal=principal)
    restricted, successor = after(old, rotation)
    assert restricted.expires_at <= old.expires_at
    assert restricted.expires_at <= now + (POLICY.rotation_grace if grace is None else grace)
    assert old.deadline is not None
    assert successor.deadline == old.deadline
    assert successor.expires_at <= old.deadline
    if old.idle_timeout is None:
        assert successor.expires_at == old.expires_at
    else:
        assert successor.expires_at <= max(old.expires_at, now + old.idle_timeout)
    # And no touch of the old one ever brings it back past its grace.
    touch = Touched(None, START + 99 * HOUR, now, HANDLE)
    touched = evolve(restricted, touch)
    assert isinstance(touched, Session)
    assert touched.expires_at <= restricted.expires_at or touched.ended_at is None
    assert touched.deadline is None or touched.expires_at <= touched.deadline


@given(sessions)
def test_a_successor_carries_over_what_the_old_one_had(old: Session) -> None:
    _, successor = after(old, rotated(old))
    kept = ("principal", "created_at", "deadline", "attributes", "external_id", "idle_timeout")
    for name in (*kept, "reauthenticated_at", "context", "authenticated_at"):
        assert getattr(successor, name) == getattr(old, name)
    assert successor.family == old.handle
    assert successor.handle != old.handle


def test_within_its_grace_the_old_one_lives_and_then_it_does_not() -> None:
    restricted, successor = after(OLD, rotated(OLD))
    assert not restricted.is_expired_at(START + 30 * SECOND - timedelta.resolution)
    assert restricted.is_expired_at(START + 30 * SECOND)
    assert restricted.successors == (successor.handle,)
    assert not successor.is_expired_at(START + 30 * SECOND)


def test_without_grace_the_old_one_ends_at_once() -> None:
    rotation = rotated(OLD, grace=timedelta(0))
    assert isinstance(rotation.restricted, Expired)
    restricted, successor = after(OLD, rotation)
    assert restricted.ended_at == START
    assert restricted.successors == (successor.handle,)
    # Whatever the clock: it stands in the log that there was no grace.
    assert is_reuse(restricted, START - HOUR)


def test_a_grace_never_outlasts_the_session() -> None:
    near = replace(OLD, expires_at=START + SECOND)
    for grace in (HOUR, timedelta.max):
        restricted, successor = after(near, rotated(near, grace=grace))
        assert restricted.expires_at == restricted.deadline == START + SECOND
        assert successor.expires_at == START + SECOND


def test_eight_successors_and_no_more() -> None:
    old = OLD
    for number in range(8):
        rotation = rotated(old, at=START + number * SECOND)
        assert rotation.created.family == HANDLE
        old, _ = after(old, rotation)
        assert old.expires_at == START + 30 * SECOND
    with pytest.raises(SessionLimitReached):
        rotated(old, at=START + 9 * SECOND)
    # Who logs in is not kept out by it.
    assert rotated(old, at=START + 9 * SECOND, principal="alice").created.principal == "alice"


def test_a_sibling_is_as_new_as_the_newest_but_proves_nothing_more() -> None:
    old, newest = after(OLD, rotated(OLD))
    newest = replace(newest, attributes={"cart": [1, 2]}, reauthenticated_at=START + SECOND)
    sibling = decide_rotate(old, newest, handle(2), Rotate(), START + SECOND, POLICY).created
    assert sibling.attributes == b'{"cart":[1,2]}'
    assert sibling.expires_at == newest.expires_at
    assert sibling.family == newest.family == HANDLE
    assert sibling.authenticated_at is None


def test_another_principal_begins_a_family_without_a_link() -> None:
    old = replace(OLD, family=handle(9))
    restricted, successor = after(old, rotated(old, at=START + SECOND, principal="alice"))
    assert (successor.principal, successor.family, successor.successors) == ("alice", None, ())
    assert successor.authenticated_at == START + SECOND
    assert successor.created_at == START
    assert restricted.successors == ()
    assert restricted.principal == "anonymous"
    assert not is_rotated(restricted)
    assert not is_reuse(restricted, START + HOUR)
    assert family_of(successor) != family_of(restricted)


def test_who_holds_the_old_token_after_a_login_gets_nothing_past_its_grace() -> None:
    restricted, _ = after(OLD, rotated(OLD, principal="alice"))
    _, again = after(restricted, rotated(restricted, at=START + SECOND))
    assert again.principal == "anonymous"
    assert again.expires_at == again.deadline == START + 30 * SECOND


def test_the_same_principal_by_name_is_no_other() -> None:
    _, successor = after(OLD, rotated(OLD, principal=" anonymous "))
    assert successor.family == HANDLE


@pytest.mark.parametrize("principal", ["alice", "anonymous", None])
def test_a_log_in_begins_a_life_of_its_own(principal: str | None) -> None:
    old = replace(OLD, deadline=START + HOUR, idle_timeout=HOUR, family=handle(9))
    now = START + HOUR / 2
    rotation = rotated(
        old, at=now, principal=principal, life=Asked(ttl=9 * HOUR), attributes={"a": 1}
    )
    restricted, successor = after(old, rotation)
    assert (successor.created_at, successor.expires_at) == (now, now + 9 * HOUR)
    assert (successor.deadline, successor.idle_timeout) == (None, None)
    assert (successor.family, restricted.successors) == (None, ())
    assert successor.attributes == {"a": 1}
    strict = Policy(absolute_timeout=HOUR)
    _, bounded = after(old, rotated(old, at=now, policy=strict, life=Asked(ttl=9 * HOUR)))
    assert bounded.expires_at == bounded.deadline == now + HOUR


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("attributes", {"attributes": []}),
        ("ttl", {"life": Asked(ttl=-SECOND)}),
        ("grace", {"grace": 30}),
        ("grace", {"grace": -SECOND}),
        ("principal", {"principal": " "}),
        ("principal", {"principal": 7}),
    ],
)
def test_a_rotation_that_can_t_be_is_refused_by_name(field: str, told: dict[str, Any]) -> None:
    with pytest.raises(InvalidSession) as caught:
        rotated(OLD, **told)
    assert caught.value.field == field


def test_a_token_is_reused_once_its_grace_is_over_by_every_clock() -> None:
    old, _ = after(OLD, rotated(OLD))
    over = START + 30 * SECOND + CLOCK_TOLERANCE
    assert not is_reuse(old, over - timedelta.resolution)
    assert is_reuse(old, over)
    # What was swept is still known; what was ended on purpose is over, and nobody is a thief.
    swept = evolve(old, Expired(START + 30 * SECOND, HANDLE, "lapsed"))
    assert not is_reuse(swept, over - timedelta.resolution)
    assert is_reuse(swept, over)
    assert not is_reuse(evolve(old, Expired(START + SECOND, HANDLE, "revoked")), over)
    assert not is_reuse(OLD, START + 2 * HOUR)
    assert not is_reuse(None, START)


def test_reuse_is_recorded_once() -> None:
    old, _ = after(OLD, rotated(OLD))
    now = START + HOUR
    assert is_reuse(old, now)
    assert not is_reuse(evolve(old, end_of(old, now, "reused")), now + HOUR)


def test_the_newest_is_a_live_one_that_was_not_rotated() -> None:
    old, first = after(OLD, rotated(OLD))
    second = replace(first, handle=handle(2), version=5)
    assert newest_of([old]) is None
    assert newest_of([old, replace(first, version=3), second]) == second
    assert [belongs_to_family(one) for one in (OLD, old, first)] == [False, True, True]


def live(*families: int) -> list[Session]:
    """Sessions, each younger than the one before, of these families."""
    return [
        replace(OLD, handle=handle(100 + n), created_at=START + n * SECOND, family=handle(family))
        for n, family in enumerate(families)
    ]


@pytest.mark.parametrize("on_limit", ["deny", "evict_oldest"])
def test_there_is_room_below_the_limit(on_limit: Literal["deny", "evict_oldest"]) -> None:
    policy = Policy(max_sessions_per_principal=3, on_limit=on_limit)
    assert decide_room([], START, policy) == []
    assert decide_room(live(1, 2), START, policy) == []
    # A family counts once.
    assert decide_room(live(1, 2, 2, 2, 1), START, policy) == []
    assert decide_room(live(*range(50)), START, Policy(on_limit=on_limit)) == []


def test_one_more_is_denied() -> None:
    policy = Policy(max_sessions_per_principal=2)
    with pytest.raises(SessionLimitReached):
        decide_room(live(1, 2), START, policy)


def test_the_oldest_families_make_room_as_a_whole() -> None:
    policy = Policy(max_sessions_per_principal=2, on_limit="evict_oldest")
    sessions = live(1, 2, 1, 3)
    ends = decide_room(list(reversed(sessions)), START, policy)
    assert [end.token_handle for end in ends] == [
        sessions[0].handle,
        sessions[2].handle,
        sessions[1].handle,
    ]
    assert len(decide_room(live(1, 2), START, policy)) == 1


@given(st.lists(st.integers(0, 6), max_size=12), st.integers(1, 5))
def test_room_is_made_and_no_more_than_that(families: list[int], most: int) -> None:
    policy = Policy(max_sessions_per_principal=most, on_limit="evict_oldest")
    ended = {end.token_handle for end in decide_room(live(*families), START, policy)}
    left = {family_of(one) for one in live(*families) if one.handle not in ended}
    assert len(left) == min(len(set(families)), most - 1)
