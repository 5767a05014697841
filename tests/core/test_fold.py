"""evolve: the rules of the fold, whatever events come in whatever order."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import reduce

import msgspec
from hypothesis import given

from sessionledger import Session
from sessionledger.core.events import Created, DecodedEvent, Expired, Malformed, Touched
from sessionledger.core.fold import evolve
from sessionledger.core.session import Broken, Seen, State
from sessionledger.core.token import handle_of
from tests.strategies import HANDLE, START, histories, instants

HOUR = timedelta(hours=1)
CREATED = Created(b'{"n":1}', START, START + HOUR, START, "alice", HANDLE)


def fold(happened: list[DecodedEvent]) -> State:
    state: State = None
    return reduce(evolve, happened, state)


@given(histories())
def test_folding_is_deterministic(happened: list[DecodedEvent]) -> None:
    assert fold(happened) == fold(happened)


@given(histories(), histories())
def test_folding_goes_on_where_it_stopped(
    before: list[DecodedEvent], after: list[DecodedEvent]
) -> None:
    assert reduce(evolve, after, fold(before)) == fold(before + after)


@given(histories(), histories(), instants)
def test_ended_stays_ended(
    before: list[DecodedEvent], after: list[DecodedEvent], now: datetime
) -> None:
    ended = fold([CREATED, *before, Expired(START, HANDLE)])
    assert isinstance(ended, Session)
    state: State = ended
    for event in after:
        state = evolve(state, event)
        assert isinstance(state, Session)
        assert state.ended_at is not None
        assert state.is_expired_at(now)
        assert state.expires_at <= ended.expires_at


@given(histories())
def test_no_event_leads_out_of_an_end_state(happened: list[DecodedEvent]) -> None:
    state: State = None
    for event in happened:
        before, state = state, evolve(state, event)
        if isinstance(before, Session) and before.ended_at is not None:
            assert isinstance(state, Session)
            assert state.ended_at is not None
            assert state.ended_at <= before.ended_at
        if isinstance(before, Broken):
            assert isinstance(state, Broken)


@given(histories())
def test_a_deadline_is_never_exceeded_by_a_touch(happened: list[DecodedEvent]) -> None:
    state = fold(happened)
    for event in happened:
        after = evolve(state, event)
        if isinstance(after, Session) and isinstance(event, Touched) and after.deadline:
            assert isinstance(state, Session)
            assert after.expires_at <= max(after.deadline, state.expires_at)
        state = after


@given(histories())
def test_what_a_session_is_for_never_changes(happened: list[DecodedEvent]) -> None:
    first = fold([CREATED])
    last = reduce(evolve, happened, first)
    assert isinstance(first, Session)
    assert isinstance(last, Session)
    fixed = ("handle", "principal", "created_at", "external_id", "family", "idle_timeout")
    assert [getattr(last, name) for name in fixed] == [getattr(first, name) for name in fixed]
    assert last.last_seen_at >= first.last_seen_at


@given(histories())
def test_the_first_creation_wins(happened: list[DecodedEvent]) -> None:
    state = reduce(evolve, happened, fold([CREATED]))
    assert evolve(state, CREATED) == state


@given(histories())
def test_a_deadline_only_ever_comes_nearer(happened: list[DecodedEvent]) -> None:
    state = fold([CREATED])
    for event in happened:
        before, state = state, evolve(state, event)
        assert isinstance(before, Session)
        assert isinstance(state, Session)
        if before.deadline is not None:
            assert state.deadline is not None
            assert state.deadline <= before.deadline
        if state.deadline is not None and isinstance(event, Touched):
            assert state.ended_at is not None or state.expires_at <= state.deadline


@given(histories())
def test_proofs_only_ever_get_newer(happened: list[DecodedEvent]) -> None:
    state = fold([CREATED])
    for event in happened:
        before, state = state, evolve(state, event)
        assert isinstance(before, Session)
        assert isinstance(state, Session)
        assert state.authenticated_at >= before.authenticated_at


@given(histories())
def test_successors_add_up_until_reuse_is_recorded(happened: list[DecodedEvent]) -> None:
    state = fold([CREATED])
    for event in happened:
        before, state = state, evolve(state, event)
        assert isinstance(before, Session)
        assert isinstance(state, Session)
        forgotten = isinstance(event, Expired) and event.cause == "reused"
        assert state.successors[: len(before.successors)] == (
            () if forgotten else before.successors
        )
        assert len(state.successors) <= len(before.successors) + 1


def one(*happened: DecodedEvent) -> Session:
    state = fold([CREATED, *happened])
    assert isinstance(state, Session)
    return state


def test_a_restricting_touch_tells_the_deadline_and_the_successor() -> None:
    end, next_one = START + timedelta(seconds=30), handle_of(b"1" * 32)
    rotated = one(Touched(None, end, START, HANDLE, deadline=end, successor=next_one))
    assert (rotated.expires_at, rotated.deadline) == (end, end)
    assert rotated.successors == (next_one,)
    later = evolve(rotated, Touched(None, START + HOUR, START, HANDLE))
    assert isinstance(later, Session)
    assert later.expires_at == end


def test_an_end_with_a_successor_is_a_deadline() -> None:
    rotated = one(Expired(START, HANDLE, successor=handle_of(b"1" * 32)))
    assert rotated.deadline == rotated.ended_at == START
    assert one(Expired(START, HANDLE)).deadline is None


def test_recorded_reuse_forgets_the_successors() -> None:
    rotated = Touched(None, START, START, HANDLE, deadline=START, successor=HANDLE)
    assert one(rotated, Expired(START + HOUR, HANDLE, cause="reused")).successors == ()


def test_the_context_is_that_of_the_latest_sighting_that_told_one() -> None:
    told = CREATED_FROM_HOME
    seen = Touched(None, None, START + timedelta(minutes=1), HANDLE, context={"device": "phone"})
    patched = Touched(b"{}", None, START, HANDLE, context={"device": "a job"})
    silent = Touched(None, None, START + HOUR, HANDLE)
    assert fold_one(told).context == {"device": "laptop"}
    assert fold_one(told, seen).context == {"device": "phone"}
    assert fold_one(told, seen, silent).context == {"device": "phone"}
    assert fold_one(told, patched).context == {"device": "laptop"}


CREATED_FROM_HOME = msgspec.structs.replace(CREATED, context={"device": "laptop"})


def fold_one(*happened: DecodedEvent) -> Session:
    state = fold(list(happened))
    assert isinstance(state, Session)
    return state


def test_a_touch_moves_what_it_gives() -> None:
    touched = Touched(b'{"m":2}', START + 2 * HOUR, START + timedelta(minutes=1), HANDLE)
    state = fold([CREATED, touched])
    assert isinstance(state, Session)
    assert state.attributes == {"m": 2}
    assert state.expires_at == START + 2 * HOUR
    assert state.last_seen_at == START + timedelta(minutes=1)


def test_a_touch_from_the_past_does_not_rewind() -> None:
    state = fold([CREATED, Touched(None, None, START - HOUR, HANDLE)])
    assert state == fold([CREATED])


def test_a_touch_or_nothing_of_an_unknown_handle_is_nothing() -> None:
    assert fold([Touched(b"{}", START, START, HANDLE)]) is None


def test_an_expiry_before_any_creation_is_remembered() -> None:
    assert fold([Expired(START, HANDLE)]) == Seen()


def test_the_earlier_expiry_stands() -> None:
    state = fold([CREATED, Expired(START + 2 * HOUR, HANDLE), Expired(START - HOUR, HANDLE)])
    assert isinstance(state, Session)
    assert state.expires_at == START - HOUR
    assert state.ended_at == START - HOUR


def test_an_unreadable_event_ends_the_session_when_it_was_last_seen() -> None:
    state = fold([CREATED, Malformed(HANDLE)])
    assert isinstance(state, Session)
    assert state.ended_at == START == state.expires_at


def test_an_unreadable_event_of_no_session_leaves_the_handle_broken() -> None:
    assert fold([Malformed(HANDLE), CREATED]) == Broken()
    assert fold([Expired(START, HANDLE), Malformed(HANDLE), CREATED]) == Broken()
