"""decide: what is allowed, what is refused, and that what was decided folds as announced."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger import DuplicateSession, InvalidSession, Policy, Session
from sessionledger.core.codec import decode_event, encode_event
from sessionledger.core.decide import (
    Create,
    Touch,
    decide_create,
    decide_touch,
)
from sessionledger.core.ends import Expire, decide_expire
from sessionledger.core.events import SessionEvent
from sessionledger.core.fold import evolve
from sessionledger.core.session import Broken, Seen, State
from tests.strategies import HANDLE, START, json_objects, near_instants

HOUR = timedelta(hours=1)
POLICY = Policy(ttl=HOUR)
SLIDING = Policy(ttl=HOUR, idle_timeout=timedelta(minutes=10))

Command: TypeAlias = Create | Touch | Expire

spans = st.integers(1, 5000).map(lambda seconds: timedelta(seconds=seconds))
policies = st.builds(Policy, ttl=spans, idle_timeout=st.none() | spans)
_maybe_instant = st.none() | near_instants
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        Create,
        principal=st.just("alice"),
        created_at=_maybe_instant,
        expires_at=_maybe_instant,
        attributes=st.none() | json_objects,
    ),
    st.builds(
        Touch,
        last_seen_at=_maybe_instant,
        expires_at=_maybe_instant,
        attributes=st.none() | json_objects,
    ),
    st.builds(Expire, cause=st.just("revoked"), expired_at=_maybe_instant),
)
journeys = st.lists(st.tuples(commands, near_instants), max_size=10)


def decide(state: State, command: Command, now: datetime, policy: Policy) -> SessionEvent | None:
    match command:
        case Create():
            return decide_create(state, HANDLE, command, now, policy)
        case Touch():
            return decide_touch(state, HANDLE, command, now, policy)
        case Expire():
            return decide_expire(state, HANDLE, command, now)


def attempt(state: State, command: Command, now: datetime, policy: Policy) -> SessionEvent | None:
    """As `decide`, with a refusal counting as nothing decided."""
    try:
        return decide(state, command, now, policy)
    except (DuplicateSession, InvalidSession):
        return None


@given(journeys, policies)
def test_what_was_decided_folds_to_what_was_announced(journey: Any, policy: Policy) -> None:
    announced: State = None
    folded: State = None
    for command, now in journey:
        event = attempt(announced, command, now, policy)
        if event is None:
            continue
        announced = evolve(announced, event)
        stored = decode_event(*encode_event(event))
        assert stored is not None
        folded = evolve(folded, stored)
        assert folded == announced


@given(journeys, policies)
def test_no_decision_passes_a_deadline_or_revives(journey: Any, policy: Policy) -> None:
    state: State = None
    for command, now in journey:
        event = attempt(state, command, now, policy)
        before, state = state, state if event is None else evolve(state, event)
        if isinstance(state, Session):
            assert state.deadline is None or state.expires_at <= state.deadline
        if isinstance(before, Session) and before.ended_at is not None:
            assert isinstance(state, Session)
            assert state.ended_at is not None


@given(journeys, policies, near_instants)
def test_a_session_that_is_over_can_t_be_touched(
    journey: Any, policy: Policy, now: datetime
) -> None:
    state: State = None
    for command, at in journey:
        event = attempt(state, command, at, policy)
        state = state if event is None else evolve(state, event)
    touch = attempt(state, Touch(), now, policy)
    live = isinstance(state, Session) and not state.is_expired_at(now)
    assert (touch is not None) == live


def created(policy: Policy = POLICY, **given: Any) -> Session:
    command = Create(principal="alice", **given)
    state = evolve(None, decide_create(None, HANDLE, command, START, policy))
    assert isinstance(state, Session)
    return state


def touched(session: Session, now: datetime, policy: Policy, **given: Any) -> Session:
    event = decide_touch(session, HANDLE, Touch(**given), now, policy)
    assert event is not None
    after = evolve(session, event)
    assert isinstance(after, Session)
    return after


class TestCreate:
    def test_defaults(self) -> None:
        session = created()
        assert session == Session(HANDLE, "alice", START, START, START + HOUR, {})

    def test_the_principal_is_trimmed(self) -> None:
        event = decide_create(None, HANDLE, Create(principal="\u3000 bob\n"), START, POLICY)
        assert event.principal == "bob"

    def test_a_ttl_counts_from_the_creation(self) -> None:
        session = created(created_at=START - HOUR, ttl=2 * HOUR)
        assert session.expires_at == START + HOUR

    def test_idleness_makes_the_end_a_deadline(self) -> None:
        session = created(SLIDING)
        assert session.expires_at == START + timedelta(minutes=10)
        assert session.deadline == START + HOUR

    @pytest.mark.parametrize("state", [created(), Seen(), Broken()])
    def test_a_handle_that_was_seen_is_taken(self, state: State) -> None:
        with pytest.raises(DuplicateSession, match=HANDLE):
            decide_create(state, HANDLE, Create(principal="bob"), START, POLICY)


class TestTouch:
    def test_expiry_does_not_slide_without_idleness(self) -> None:
        after = touched(created(), START + timedelta(minutes=5), POLICY)
        assert after.expires_at == START + HOUR
        assert after.last_seen_at == START + timedelta(minutes=5)

    def test_expiry_slides(self) -> None:
        after = touched(created(SLIDING), START + timedelta(minutes=5), SLIDING)
        assert after.expires_at == START + timedelta(minutes=15)

    def test_sliding_ends_at_the_deadline(self) -> None:
        session = created(SLIDING, ttl=timedelta(minutes=12))
        after = touched(session, START + timedelta(minutes=5), SLIDING)
        assert after.expires_at == START + timedelta(minutes=12) == after.deadline

    def test_an_explicit_expiry_ends_at_the_deadline(self) -> None:
        after = touched(created(SLIDING), START, SLIDING, expires_at=START + 9 * HOUR)
        assert after.expires_at == START + HOUR

    def test_sliding_never_shortens(self) -> None:
        longer = touched(created(SLIDING), START, SLIDING, expires_at=START + HOUR)
        after = touched(longer, START + timedelta(minutes=1), SLIDING)
        assert after.expires_at == START + HOUR

    def test_an_explicit_time_does_not_slide(self) -> None:
        """With explicit times it answers as the reference does."""
        after = touched(created(SLIDING), START, SLIDING, last_seen_at=START)
        assert after.expires_at == START + timedelta(minutes=10)

    def test_a_session_without_a_deadline_keeps_its_promised_end(self) -> None:
        after = touched(created(), START + timedelta(minutes=5), SLIDING)
        assert after.expires_at == START + HOUR

    def test_attributes_are_replaced_when_given(self) -> None:
        session = created(attributes={"a": 1})
        assert touched(session, START, POLICY).attributes == {"a": 1}
        assert touched(session, START, POLICY, attributes={"b": 2}).attributes == {"b": 2}
        assert touched(session, START, POLICY, attributes={}).attributes == {}

    @pytest.mark.parametrize("state", [None, Seen(), Broken()])
    def test_where_there_is_no_session_nothing_happens(self, state: State) -> None:
        assert decide_touch(state, HANDLE, Touch(), START, POLICY) is None

    def test_a_session_that_is_over_answers_before_a_bad_expiry_is_refused(self) -> None:
        """The reference's order: unknown first, then whether the times make sense."""
        bad = Touch(last_seen_at=START + 2 * HOUR, expires_at=START)
        assert decide_touch(created(), HANDLE, bad, START, POLICY) is None


CREATING: list[tuple[str, dict[str, Any]]] = [
    ("principal", {"principal": ""}),
    ("principal", {"principal": " \t\u3000"}),
    ("principal", {"principal": "a\x00b"}),
    ("principal", {"principal": "a\x85b"}),
    ("principal", {"principal": "a\x7fb"}),
    ("principal", {"principal": "\ud800"}),
    ("principal", {"principal": "x" * 513}),
    ("principal", {"principal": None}),
    ("principal", {"principal": b"alice"}),
    ("created_at", {"created_at": datetime(2026, 5, 2)}),  # noqa: DTZ001
    ("expires_at", {"expires_at": START}),
    ("expires_at", {"expires_at": "tomorrow"}),
    ("ttl", {"ttl": timedelta(0)}),
    ("ttl", {"ttl": -HOUR}),
    ("ttl", {"ttl": 3600}),
    ("ttl", {"ttl": timedelta.max}),
    ("ttl", {"ttl": HOUR, "expires_at": START + HOUR}),
    ("attributes", {"attributes": []}),
    ("attributes", {"attributes": "{}"}),
    ("attributes", {"attributes": {"n": float("nan")}}),
    ("attributes", {"attributes": {1: 2}}),
    ("attributes", {"attributes": {"x": "y" * 65536}}),
]


@pytest.mark.parametrize(("field", "given"), CREATING)
def test_what_can_t_be_created_names_its_field(field: str, given: dict[str, Any]) -> None:
    command = Create(**{"principal": "alice"} | given)
    with pytest.raises(InvalidSession) as caught:
        decide_create(None, HANDLE, command, START, POLICY)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("principal", "words"),
    [("al\u200bice", "U+200B"), ("alice\U000e0061", "U+E0061"), ("\uff41lice", "NFKC")],
    ids=ascii,
)
def test_a_principal_that_looks_like_another_is_told_what_to_do(principal: str, words: str) -> None:
    command = Create(principal=principal)
    with pytest.raises(InvalidSession, match=re.escape(words)) as caught:
        decide_create(None, HANDLE, command, START, POLICY)
    assert "confusable_principals=True" in str(caught.value)
    allowed = decide_create(
        None, HANDLE, command, START, replace(POLICY, confusable_principals=True)
    )
    assert allowed.principal == principal


def test_the_reference_s_policy_takes_control_characters() -> None:
    event = decide_create(None, HANDLE, Create(principal="a\x00b"), START, Policy.reference())
    assert event.principal == "a\x00b"
