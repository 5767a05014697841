"""How long events are kept, and what remains of a session."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger.core.codec import decode_state, encode_state
from sessionledger.core.ends import Expire, decide_expire
from sessionledger.core.events import Created, Everybody, Expired, Malformed, Touched
from sessionledger.core.families import remains_of
from sessionledger.core.fold import evolve
from sessionledger.core.lifetimes import MIN_RETENTION, parse_retention
from sessionledger.core.session import Broken, Seen, Session, Tombstone
from sessionledger.core.token import Handle
from sessionledger.errors import InvalidSession

NOW = datetime(2026, 12, 1, tzinfo=UTC)
HANDLE, OTHER = (Handle("sha256:v1:" + digit * 64) for digit in "ab")
SESSION = Session(HANDLE, "alice", NOW, NOW, NOW + timedelta(days=1), {})
ENDED = replace(SESSION, ended_at=NOW)


@pytest.mark.parametrize(
    "retention", [MIN_RETENTION - timedelta(microseconds=1), timedelta(0), timedelta(-1), 90, None]
)
def test_a_retention_below_48_hours_is_refused(retention: object) -> None:
    with pytest.raises(InvalidSession, match="retention"):
        parse_retention(retention)


def test_48_hours_are_enough() -> None:
    assert parse_retention(MIN_RETENTION) == timedelta(days=2)


def test_a_tombstone_remains_of_what_ended_and_of_nothing_else() -> None:
    assert remains_of(ENDED, []) == Tombstone()
    for state in (SESSION, Seen(), Broken(), Tombstone(), None):
        assert remains_of(state, []) is None


def test_a_rotated_session_stays_while_its_family_lives() -> None:
    rotated = replace(ENDED, successors=(OTHER,), cause="rotated")
    member = replace(SESSION, handle=OTHER, family=HANDLE)
    assert remains_of(rotated, [member]) is None
    assert remains_of(rotated, []) == Tombstone()
    assert remains_of(rotated, [replace(member, family=None)]) == Tombstone()
    assert remains_of(ENDED, [member]) == Tombstone()


events = st.sampled_from(
    [
        Created(b"{}", NOW, NOW + timedelta(days=9), NOW, "mallory", HANDLE),
        Touched(None, NOW + timedelta(days=9), NOW, HANDLE),
        Expired(NOW, HANDLE),
        Everybody(NOW),
        Malformed(HANDLE),
    ]
)


@given(st.lists(events))
def test_nothing_brings_a_tombstone_back(happened: list[Created | Touched | Expired]) -> None:
    state = decode_state(encode_state(Tombstone()))
    for event in happened:
        state = evolve(state, event)
    assert state == Tombstone()


def test_a_tombstone_is_not_ended_again() -> None:
    for at in (None, NOW):
        command = Expire(cause="revoked", expired_at=at)
        assert decide_expire(Tombstone(), HANDLE, command, NOW) is None
