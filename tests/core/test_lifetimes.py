"""Lifetimes: what ends a session when, and that nobody stretches what it was promised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger import InvalidSession, Policy, Session
from sessionledger.core.decide import (
    Create,
    Touch,
    decide_authenticate,
    decide_create,
    decide_touch,
)
from sessionledger.core.fold import evolve
from sessionledger.core.lifetimes import (
    Asked,
    idle_timeout,
    is_touch_due,
    lifetime,
    parse_span,
    slid_expiry,
    touch_interval,
)
from tests.strategies import HANDLE, START, near_instants

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATEST = datetime.max.replace(tzinfo=UTC)

spans = st.integers(1, 7200).map(lambda seconds: timedelta(seconds=seconds))
maybe = st.none() | spans
policies = st.builds(Policy, ttl=spans, idle_timeout=maybe, absolute_timeout=maybe)
asked = st.builds(
    Asked, expires_at=st.none() | near_instants, idle_timeout=maybe, absolute_timeout=maybe
) | st.builds(Asked, ttl=maybe, idle_timeout=maybe, absolute_timeout=maybe)


def created(policy: Policy, **command: Any) -> Session:
    event = decide_create(None, HANDLE, Create(principal="alice", **command), START, policy)
    session = evolve(None, event)
    assert isinstance(session, Session)
    return session


def touched(session: Session, now: datetime, policy: Policy, **command: Any) -> Session | None:
    event = decide_touch(session, HANDLE, Touch(**command), now, policy)
    after = None if event is None else evolve(session, event)
    assert after is None or isinstance(after, Session)
    return after


@pytest.mark.parametrize(
    ("given_policy", "given_command", "expires", "deadline"),
    [
        # 1. Without timeouts there is no deadline.
        (Policy(ttl=HOUR), {}, HOUR, None),
        (Policy(ttl=HOUR), {"ttl": DAY}, DAY, None),
        # 2. Under an idle timeout the end that was asked for is the deadline.
        (Policy(ttl=HOUR, idle_timeout=MINUTE), {}, MINUTE, HOUR),
        (Policy(ttl=HOUR, idle_timeout=MINUTE), {"ttl": DAY}, MINUTE, DAY),
        (Policy(ttl=HOUR, idle_timeout=MINUTE), {"ttl": SECOND}, SECOND, SECOND),
        (Policy(ttl=HOUR), {"idle_timeout": MINUTE}, MINUTE, HOUR),
        # 3. No end lies past the absolute timeout, which is then the deadline.
        (Policy(ttl=DAY, absolute_timeout=HOUR), {}, HOUR, HOUR),
        (Policy(ttl=MINUTE, absolute_timeout=HOUR), {}, MINUTE, HOUR),
        (Policy(absolute_timeout=HOUR), {"ttl": DAY}, HOUR, HOUR),
        (Policy(absolute_timeout=HOUR), {"expires_at": START + DAY}, HOUR, HOUR),
        (Policy(), {"absolute_timeout": HOUR}, HOUR, HOUR),
        (Policy(absolute_timeout=HOUR), {"absolute_timeout": 2 * HOUR, "ttl": DAY}, 2 * HOUR, None),
        # Both: `ttl` is for sessions that nothing else limits.
        (Policy(ttl=MINUTE, idle_timeout=MINUTE, absolute_timeout=HOUR), {}, MINUTE, HOUR),
        (Policy(idle_timeout=MINUTE, absolute_timeout=HOUR), {"ttl": DAY}, MINUTE, HOUR),
        (
            Policy(idle_timeout=MINUTE, absolute_timeout=HOUR),
            {"ttl": 2 * MINUTE},
            MINUTE,
            2 * MINUTE,
        ),
        (Policy(idle_timeout=DAY, absolute_timeout=HOUR), {}, HOUR, HOUR),
    ],
)
def test_the_ends_of_a_new_session(
    given_policy: Policy, given_command: dict[str, Any], expires: timedelta, deadline: Any
) -> None:
    session = created(given_policy, **given_command)
    assert session.expires_at - START == expires
    if "absolute_timeout" in given_command and deadline is None:
        deadline = given_command["absolute_timeout"]
    assert session.deadline == (None if deadline is None else START + deadline)


@pytest.mark.parametrize(
    ("preset", "overall", "idle"),
    [
        (Policy.aal1(), 30 * DAY, None),
        (Policy.aal2(), 24 * HOUR, HOUR),
        (Policy.aal3(), 12 * HOUR, 15 * MINUTE),
    ],
)
def test_the_presets_are_what_nist_says(
    preset: Policy, overall: timedelta, idle: timedelta | None
) -> None:
    session = created(preset)
    assert session.deadline == START + overall
    assert session.expires_at == START + (idle or overall)
    # Whoever asks for more gets no more, and whoever is seen all the time neither.
    assert created(preset, ttl=365 * DAY).deadline == START + overall
    seen: Session | None = session
    now, step = START, (idle or DAY) - SECOND
    while seen is not None:
        assert seen.expires_at <= START + overall
        now += step
        seen = touched(seen, now, preset)
    assert START + overall - step < now
    assert touched(session, START + overall - SECOND, preset, last_seen_at=START, ttl=365 * DAY)


@given(asked, policies)
def test_no_end_lies_past_what_was_asked_for_or_allowed(ask: Asked, policy: Policy) -> None:
    assume(ask.expires_at is None or ask.expires_at > START)  # type: ignore[operator]
    life = lifetime(ask, START, policy)
    absolute = ask.absolute_timeout or policy.absolute_timeout
    idle = ask.idle_timeout or policy.idle_timeout
    assert life.idle_timeout == idle
    assert life.expires_at > START
    if ask.expires_at is not None:
        assert life.expires_at <= ask.expires_at  # type: ignore[operator]
    if isinstance(ask.ttl, timedelta):
        assert life.expires_at <= START + ask.ttl
    if idle is not None or absolute is not None:
        assert life.deadline is not None
        assert life.expires_at <= life.deadline
    if isinstance(absolute, timedelta):
        assert life.deadline is not None
        assert life.deadline <= START + absolute
    if isinstance(idle, timedelta):
        assert life.expires_at <= START + idle


moves = st.lists(
    st.tuples(spans, policies, st.none() | spans, st.booleans()), min_size=1, max_size=8
)


@given(asked, policies, moves)
def test_no_touch_under_whatever_later_policy_passes_the_deadline(
    ask: Asked, policy: Policy, later: list[tuple[timedelta, Policy, timedelta | None, bool]]
) -> None:
    assume(ask.expires_at is None or ask.expires_at > START)  # type: ignore[operator]
    told = {name: getattr(ask, name) for name in ask.__struct_fields__}
    session = created(policy, **told)
    deadline, now = session.deadline, START
    for span, other, ttl, authenticates in later:
        now += span
        before = session
        if authenticates:
            event = decide_authenticate(session, HANDLE, now, other)
        else:
            event = decide_touch(session, HANDLE, Touch(ttl=ttl), now, other)
        if event is None:
            continue
        after = evolve(session, event)
        assert isinstance(after, Session)
        session = after
        assert session.deadline == deadline
        if deadline is not None:
            assert session.expires_at <= deadline
        if ttl is None or authenticates:
            # Sliding: never nearer, and no further than it was promised when it was created.
            assert session.expires_at >= before.expires_at
            if before.idle_timeout is None:
                assert session.expires_at == before.expires_at
            else:
                assert session.expires_at <= max(before.expires_at, now + before.idle_timeout)


def test_a_later_policy_never_stretches_an_idle_timeout_and_may_shorten_it() -> None:
    session = created(Policy(idle_timeout=10 * MINUTE, absolute_timeout=DAY))
    longer, shorter = Policy(idle_timeout=HOUR), Policy(idle_timeout=MINUTE)
    now = START + 9 * MINUTE + 30 * SECOND
    assert slid_expiry(session, now, longer) == now + 10 * MINUTE
    assert slid_expiry(session, now, Policy()) == now + 10 * MINUTE
    assert slid_expiry(session, now, shorter) == now + MINUTE
    assert slid_expiry(session, START, shorter) == session.expires_at
    assert idle_timeout(session, longer) == 10 * MINUTE
    assert idle_timeout(session, shorter) == MINUTE


def test_a_later_idle_timeout_does_not_make_a_session_slide_past_its_end() -> None:
    """It carries a deadline, which is further than the end that it was promised."""
    session = created(Policy(ttl=HOUR, absolute_timeout=DAY))
    assert (session.expires_at, session.deadline) == (START + HOUR, START + DAY)
    later = Policy(idle_timeout=2 * HOUR)
    after = touched(session, START + 59 * MINUTE, later)
    assert after is not None
    assert after.expires_at == START + HOUR


def test_an_idle_timeout_of_one_session_is_its_own() -> None:
    policy = Policy(idle_timeout=HOUR)
    session = created(policy, idle_timeout=MINUTE)
    assert session.idle_timeout == MINUTE
    after = touched(session, START + 30 * SECOND, policy)
    assert after is not None
    assert after.expires_at == START + 90 * SECOND


@pytest.mark.parametrize(
    ("interval", "idle", "due"),
    [
        (MINUTE, None, MINUTE),
        (MINUTE, HOUR, MINUTE),
        (MINUTE, 4 * MINUTE, MINUTE),
        (MINUTE, 2 * MINUTE, 30 * SECOND),
        (MINUTE, 4 * SECOND, SECOND),
        (timedelta(0), HOUR, timedelta(0)),
        (None, None, 10 * MINUTE),
        (None, 2 * HOUR, 10 * MINUTE),
        (None, 100 * MINUTE, 10 * MINUTE),
        (None, HOUR, 6 * MINUTE),
        (None, MINUTE, 6 * SECOND),
    ],
)
def test_a_touch_is_due_by_the_interval_and_by_a_share_of_the_idle_timeout(
    interval: timedelta | None, idle: timedelta | None, due: timedelta
) -> None:
    policy = Policy(touch_interval=interval, idle_timeout=idle)
    session = created(policy)
    assert is_touch_due(session, START + due, policy)
    if due:
        assert not is_touch_due(session, START + due - timedelta.resolution, policy)
    assert not is_touch_due(session, START - HOUR, policy)


def test_the_share_is_of_what_the_session_was_promised() -> None:
    session = created(Policy(idle_timeout=2 * MINUTE))
    for policy, due in (
        (Policy(), 12 * SECOND),
        (Policy(idle_timeout=40 * SECOND), 4 * SECOND),
        (Policy(idle_timeout=HOUR), 12 * SECOND),
        (Policy(touch_interval=MINUTE), 30 * SECOND),
    ):
        assert is_touch_due(session, START + due, policy)
        assert not is_touch_due(session, START + due - timedelta.resolution, policy)


def uses(
    gaps: list[timedelta], policy: Policy, idle: timedelta
) -> Iterator[tuple[datetime, Session]]:
    """Each use of a session, and the session as `authenticate` leaves it there."""
    session, now = created(policy, idle_timeout=idle, ttl=timedelta(days=400)), START
    for gap in gaps:
        now += gap
        event = decide_authenticate(session, session.handle, now, policy)
        if event is not None:
            after = evolve(session, event)
            assert isinstance(after, Session)
            session = after
        yield now, session


IDLE_TIMEOUTS = st.timedeltas(SECOND, timedelta(days=3))
INTERVALS = st.none() | st.timedeltas(timedelta(0), HOUR)


@given(IDLE_TIMEOUTS, INTERVALS, st.lists(st.floats(0, 1), max_size=30))
def test_a_session_ends_less_than_the_interval_early_and_never_late(
    idle: timedelta, interval: timedelta | None, shares: list[float]
) -> None:
    policy = Policy(touch_interval=interval)
    for now, session in uses([share * idle for share in shares], policy, idle):
        if session.is_expired_at(now):
            break
        early = now + idle - session.expires_at
        assert early == timedelta(0) or timedelta(0) < early < touch_interval(session, policy)


@given(IDLE_TIMEOUTS, INTERVALS, st.lists(st.floats(0, 1), max_size=30))
def test_no_session_ends_whose_uses_are_an_interval_closer_than_its_idle_timeout(
    idle: timedelta, interval: timedelta | None, shares: list[float]
) -> None:
    policy = Policy(touch_interval=interval)
    apart = idle - touch_interval(created(policy, idle_timeout=idle), policy)
    longest = apart - timedelta.resolution
    for now, session in uses([share * longest for share in shares], policy, idle):
        assert not session.is_expired_at(now)


def test_a_session_may_end_by_almost_the_interval_early() -> None:
    policy, step = Policy(), timedelta.resolution
    [(seen, session)] = uses([6 * MINUTE - step], policy, HOUR)
    assert session.expires_at == seen + 54 * MINUTE + step
    *_, (now, session) = uses([6 * MINUTE - step, 54 * MINUTE + step], policy, HOUR)
    assert session.is_expired_at(now)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("ttl", {"ttl": timedelta.max}),
        ("ttl", {"ttl": timedelta(0)}),
        ("ttl", {"ttl": 5}),
        ("ttl", {"ttl": HOUR, "expires_at": START + HOUR}),
        ("idle_timeout", {"idle_timeout": timedelta(0)}),
        ("idle_timeout", {"idle_timeout": -HOUR}),
        ("idle_timeout", {"idle_timeout": 60}),
        ("absolute_timeout", {"absolute_timeout": timedelta(0)}),
        ("absolute_timeout", {"absolute_timeout": "1h"}),
        ("expires_at", {"absolute_timeout": timedelta.max}),
        ("expires_at", {"expires_at": START}),
    ],
)
def test_a_life_that_can_t_be_is_refused_by_name(field: str, told: dict[str, Any]) -> None:
    with pytest.raises(InvalidSession) as caught:
        created(Policy(), **told)
    assert caught.value.field == field


def test_an_idle_timeout_may_reach_beyond_the_calendar() -> None:
    policy = Policy(idle_timeout=timedelta.max, absolute_timeout=HOUR)
    session = created(policy)
    assert session.expires_at == START + HOUR
    assert slid_expiry(session, START + MINUTE, policy) == START + HOUR
    late = created(Policy(idle_timeout=2 * HOUR), created_at=LATEST - HOUR, expires_at=LATEST)
    assert late.expires_at == LATEST
    assert touched(late, LATEST - MINUTE, Policy()) is not None


@given(spans, spans, spans)
def test_sliding_never_brings_an_end_nearer_nor_past_the_deadline(
    idle: timedelta, at: timedelta, ahead: timedelta
) -> None:
    session = created(Policy(idle_timeout=idle, absolute_timeout=2 * HOUR))
    session = replace(session, expires_at=min(START + ahead, START + 2 * HOUR))
    end = slid_expiry(session, START + at, Policy())
    assert end is not None
    assert session.expires_at <= end <= START + 2 * HOUR


def test_a_span_is_a_timedelta() -> None:
    assert parse_span("ttl", HOUR) == HOUR
    with pytest.raises(InvalidSession):
        parse_span("ttl", 3600)


def test_an_end_that_its_offset_can_t_write_is_refused() -> None:
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(14 * HOUR))
    ask = Asked(expires_at=LATEST, idle_timeout=2 * HOUR)
    with pytest.raises(InvalidSession, match="9999"):
        lifetime(ask, late, Policy())
