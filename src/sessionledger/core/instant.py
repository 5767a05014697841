"""Instants as text and as arguments: RFC 3339 with an offset, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from sessionledger.errors import InvalidSession
from sessionledger.plain import EPOCH

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""The end of a session that does not end by itself. Every time zone can still show it."""

_MINUTE = timedelta(minutes=1)
_LAST = datetime.max.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970 UTC, exact, also before it."""
    return (instant - EPOCH) // _MICROSECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """The instant so many milliseconds after 1970 UTC; the last there is for what lies beyond."""
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return _LAST


def rfc3339(instant: datetime) -> str:
    """The text of an instant as the reference writes it (RFC 3339, section 5.6).

    With its offset, `Z` for none; a fraction only when there is one, without trailing zeros.
    """
    text = instant.isoformat()
    stamp, offset = text[:-6], text[-6:]
    if instant.microsecond:
        stamp = stamp.rstrip("0")
    return stamp + ("Z" if offset == "+00:00" else offset)


def written(instant: datetime) -> datetime | str:
    """What msgspec writes as that text: the instant itself, which is quicker, where it can."""
    fraction = instant.microsecond
    return instant if fraction % 10 or not fraction else rfc3339(instant)


def parse_instant(field: str, value: object) -> datetime:
    """The argument as a plain datetime with a fixed offset. Raises `InvalidSession` for naive ones.

    An offset that RFC 3339 can't write, with seconds in it, becomes UTC; the instant stays.
    """
    if not isinstance(value, datetime):
        raise InvalidSession(field, f"must be a datetime, not {type(value).__name__}")
    if value.tzinfo is UTC and type(value) is type(EPOCH):
        return value
    offset = value.utcoffset()
    if offset is None:
        raise InvalidSession(field, "must say its time zone: a naive datetime names no instant")
    try:
        return _plain(value, offset)
    except OverflowError:
        pass
    raise InvalidSession(field, "lies outside the years 1 to 9999")


def instant_or(field: str, value: object, otherwise: datetime) -> datetime:
    """The argument as an instant; another one if it is None. Raises `InvalidSession`."""
    return otherwise if value is None else parse_instant(field, value)


def _plain(value: datetime, offset: timedelta) -> datetime:
    """The instant as an instance of `datetime` itself, at a fixed offset.

    Datetimes that share a zone object compare by wall clock, and subclasses do as they like.
    """
    wall = type(EPOCH)(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
    )
    if offset % _MINUTE:
        return (wall - offset).replace(tzinfo=UTC)
    return wall.replace(tzinfo=timezone(offset) if offset else UTC)


def earlier_by(instant: datetime, span: timedelta) -> datetime:
    """The instant minus a span; the first there is where that leaves the calendar."""
    try:
        return instant - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def later_by(field: str, instant: datetime, span: timedelta) -> datetime:
    """The instant plus a span. Raises `InvalidSession` when that leaves the calendar."""
    try:
        return instant + span
    except OverflowError:
        raise InvalidSession(field, "lies outside the years 1 to 9999") from None
