"""How sessions end: whatever their clocks say, once, and at no later time than they had."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest

from sessionledger import Policy, Session, canonical
from sessionledger.core.codec import decode_event, encode_event
from sessionledger.core.ends import Expire, decide_end_all, decide_expire, decide_sweep, end_of
from sessionledger.core.events import Cause, Expired
from sessionledger.core.fold import evolve
from sessionledger.core.session import Broken, Seen, State
from sessionledger.core.token import handle_of
from tests.strategies import HANDLE, START

HOUR = timedelta(hours=1)
SESSION = Session(HANDLE, "alice", START, START, START + HOUR, {})
REVOKE = Expire(cause="revoked")


@pytest.mark.parametrize("state", [Seen(), Broken(), SESSION])
def test_whatever_was_seen_can_be_ended(state: State) -> None:
    event = decide_expire(state, HANDLE, REVOKE, START)
    assert event == Expired(START, HANDLE, "revoked")


def test_an_unknown_handle_is_nothing() -> None:
    assert decide_expire(None, HANDLE, REVOKE, START) is None


def test_ending_twice_is_nothing_unless_a_time_is_given() -> None:
    ended = evolve(SESSION, end_of(SESSION, START, "revoked"))
    assert decide_expire(ended, HANDLE, REVOKE, START + HOUR) is None
    given = Expire(cause="revoked", expired_at=START - HOUR)
    assert decide_expire(ended, HANDLE, given, START) == Expired(START - HOUR, HANDLE, "revoked")


@pytest.mark.parametrize("ahead", [-24, -1, 0, 1, 24])
def test_no_clock_is_asked_whether_there_is_anything_to_end(ahead: int) -> None:
    now = START + ahead * HOUR
    event = decide_expire(SESSION, HANDLE, REVOKE, now)
    assert event is not None
    ended = evolve(SESSION, event)
    assert isinstance(ended, Session)
    assert ended.is_expired_at(START - 1000 * HOUR)
    assert ended.ended_at == ended.expires_at == min(now, SESSION.expires_at)


def test_the_first_cause_stands() -> None:
    ended = evolve(SESSION, end_of(SESSION, START, "evicted"))
    again = evolve(ended, Expired(START - HOUR, HANDLE, "revoked"))
    assert isinstance(again, Session)
    assert (again.cause, again.ended_at) == ("evicted", START - HOUR)


def test_an_end_by_token_is_what_the_reference_writes() -> None:
    kind, payload = encode_event(end_of(SESSION, START, "signed_out"))
    assert canonical.decode(payload).keys() == {"token_handle", "expired_at"}
    assert decode_event(kind, payload) == Expired(START, HANDLE, "signed_out")


def test_a_sweep_records_the_lapse() -> None:
    policy = Policy(sweep_margin=timedelta(0))
    event = decide_sweep(SESSION, HANDLE, START + 2 * HOUR, policy)
    assert event == Expired(START + HOUR, HANDLE, "lapsed")
    assert decide_sweep(SESSION, HANDLE, START + HOUR, policy) is None


def test_all_but_one_are_ended() -> None:
    sessions = [Session(handle_of(bytes([n]) * 32), "a", START, START, START, {}) for n in range(3)]
    ends = decide_end_all(sessions, sessions[1].handle, START, "revoked")
    assert [end.token_handle for end in ends] == [sessions[0].handle, sessions[2].handle]


def test_every_cause_has_a_word() -> None:
    assert set(get_args(Cause)) == {
        "revoked",
        "signed_out",
        "lapsed",
        "reused",
        "evicted",
        "rotated",
        "parent_ended",
        "everybody",
    }
