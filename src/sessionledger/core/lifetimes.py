"""When sessions end: pure reckoning with a policy, and with what a session was promised.

A session has an end that moves, `expires_at`, and perhaps one that does not, its `deadline`.

1. Without timeouts there is no deadline: `touch` may move the end anywhere, as in the reference.
2. Under an idle timeout the end that was asked for is the deadline, and the end that moves is the
   nearer of deadline and idle timeout.
3. No end lies past `created_at` and the absolute timeout, which is then the deadline.
4. The idle timeout of its creation stays with the session. A later policy may shorten it, never
   stretch it; and sliding never brings an end nearer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from sessionledger.core.instant import later_by, parse_instant
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session
from sessionledger.errors import InvalidSession
from sessionledger.plain import as_span

LONGEST_TOUCH_INTERVAL = timedelta(minutes=10)
TOUCHES_IN_AN_IDLE_TIMEOUT = 10
_LEAST_TOUCHES_IN_AN_IDLE_TIMEOUT = 4
MIN_RETENTION = timedelta(hours=48)
"""For so long a session that ended can be found, with its history."""
_NOTHING = timedelta(0)


class Lifetime(msgspec.Struct, frozen=True, gc=False):
    """The ends of a new session, and the idle timeout that it is promised."""

    expires_at: datetime
    deadline: datetime | None
    idle_timeout: timedelta | None


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What the creator of a session said of its life, unchecked."""

    expires_at: object = None
    ttl: object = None
    idle_timeout: object = None
    absolute_timeout: object = None


def lifetime(asked: Asked, created_at: datetime, policy: Policy) -> Lifetime:
    """The ends of a new session. Raises `InvalidSession`."""
    end = requested_end(asked.expires_at, asked.ttl, created_at)
    if end is not None and end <= created_at:
        raise InvalidSession("expires_at", "must be later than created_at")
    idle = _span_or("idle_timeout", asked.idle_timeout, policy.idle_timeout)
    absolute = _span_or("absolute_timeout", asked.absolute_timeout, policy.absolute_timeout)
    limit = None if absolute is None else later_by("expires_at", created_at, absolute)
    if idle is None:
        end = later_by("ttl", created_at, policy.ttl) if end is None else end
        return Lifetime(_nearest(end, limit), limit, None)
    if end is None and limit is None:
        end = later_by("ttl", created_at, policy.ttl)
    deadline = _nearest(end or limit, limit)
    return Lifetime(within(deadline, created_at, idle), deadline, idle)


def requested_end(expires_at: object, ttl: object, start: datetime) -> datetime | None:
    """The end that was asked for, None when none was. Raises `InvalidSession`."""
    if expires_at is not None and ttl is not None:
        raise InvalidSession("ttl", "and expires_at say the same thing twice: give one of them")
    if ttl is not None:
        return later_by("ttl", start, parse_span("ttl", ttl))
    return None if expires_at is None else parse_instant("expires_at", expires_at)


def parse_span(field: str, span: object) -> timedelta:
    """The span, if it is positive. Raises `InvalidSession`."""
    plain = as_span(span)
    if plain is None:
        raise InvalidSession(field, f"must be a timedelta, not {type(span).__name__}")
    if plain <= _NOTHING:
        raise InvalidSession(field, f"must be positive, not {plain}")
    return plain


def parse_retention(retention: object) -> timedelta:
    """How long events are kept. Raises `InvalidSession`."""
    span = parse_span("retention", retention)
    if span < MIN_RETENTION:
        raise InvalidSession("retention", f"must be at least 48 hours, got {span}")
    return span


def slid_expiry(session: Session, seen_at: datetime, policy: Policy) -> datetime | None:
    """The end that being seen gives; None where it stays.

    It moves only where the session carries an idle timeout and a deadline: one that was created
    without was promised its `expires_at`, and keeps it.
    """
    idle = idle_timeout(session, policy)
    if session.deadline is None or session.idle_timeout is None or idle is None:
        return None
    end = max(session.expires_at, within(session.deadline, seen_at, idle))
    return min(end, session.deadline)


def within(deadline: datetime, start: datetime, span: timedelta) -> datetime:
    """The end of a span, or the deadline if that is nearer; the sum may leave the calendar.

    Raises `InvalidSession` where it does so by its offset only.
    """
    return deadline if deadline - start <= span else later_by("expires_at", start, span)


def idle_timeout(session: Session, policy: Policy) -> timedelta | None:
    """The shorter of what the session was promised and what the policy now allows."""
    if session.idle_timeout is None or policy.idle_timeout is None:
        return session.idle_timeout or policy.idle_timeout
    return min(session.idle_timeout, policy.idle_timeout)


def is_touch_due(session: Session, now: datetime, policy: Policy) -> bool:
    """Whether it is time to record that the session was seen."""
    return now - session.last_seen_at >= touch_interval(session, policy)


def touch_interval(session: Session, policy: Policy) -> timedelta:
    """How long a sighting stays the last recorded one while the session is used.

    By less than this a session ends before its idle timeout has passed since its last use. It
    never ends later: a sighting that is not recorded does not slide the end.
    """
    interval, touches = policy.touch_interval, _LEAST_TOUCHES_IN_AN_IDLE_TIMEOUT
    if interval is None:
        interval, touches = LONGEST_TOUCH_INTERVAL, TOUCHES_IN_AN_IDLE_TIMEOUT
    if session.idle_timeout is not None or policy.idle_timeout is not None:
        idle = idle_timeout(session, policy)
        if idle is not None:
            interval = min(interval, idle / touches)
    return interval


def _span_or(field: str, span: object, otherwise: timedelta | None) -> timedelta | None:
    return otherwise if span is None else parse_span(field, span)


def nearer(one: datetime | None, other: datetime | None) -> datetime | None:
    """The nearer of two ends, of which either may not be there."""
    if one is None or other is None:
        return one or other
    return min(one, other)


def _nearest(end: datetime | None, limit: datetime | None) -> datetime:
    if end is None or limit is None:
        given = limit if end is None else end
        assert given is not None
        return given
    return min(end, limit)
