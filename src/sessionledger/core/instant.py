"""Instants as text and as arguments: RFC 3339 with an offset, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from sessionledger.errors import InvalidSession

_MINUTE = timedelta(minutes=1)


def rfc3339(instant: datetime) -> str:
    """The text of an instant as the reference writes it (RFC 3339, section 5.6).

    With its offset, `Z` for none; a fraction only when there is one, without trailing zeros.
    """
    text = instant.isoformat()
    stamp, offset = text[:-6], text[-6:]
    if instant.microsecond:
        stamp = stamp.rstrip("0")
    return stamp + ("Z" if offset == "+00:00" else offset)


def parse_instant(field: str, value: object) -> datetime:
    """The argument as an instant with a fixed offset. Raises `InvalidSession` for naive ones.

    An offset that RFC 3339 can't write, with seconds in it, becomes UTC; the instant stays.
    """
    if not isinstance(value, datetime):
        raise InvalidSession(field, f"must be a datetime, not {type(value).__name__}")
    if value.tzinfo is UTC:
        return value
    offset = value.utcoffset()
    if offset is None:
        raise InvalidSession(field, "must say its time zone: a naive datetime names no instant")
    # A fixed offset, because datetimes that share a zone object compare by wall clock.
    return _fixed(field, value, timezone(offset) if not offset % _MINUTE else None)


def _fixed(field: str, value: datetime, zone: timezone | None) -> datetime:
    try:
        instant = value.astimezone(zone or UTC)
    except OverflowError:
        raise InvalidSession(field, "lies outside the years 1 to 9999") from None
    if instant.utcoffset() == timedelta(0):
        return instant.replace(tzinfo=UTC)
    return instant


def later_by(field: str, instant: datetime, span: timedelta) -> datetime:
    """The instant plus a span. Raises `InvalidSession` when that leaves the calendar."""
    try:
        return instant + span
    except OverflowError:
        raise InvalidSession(field, "lies outside the years 1 to 9999") from None
