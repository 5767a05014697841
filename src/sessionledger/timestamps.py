"""Times as people and programs read them, at every edge. Events keep the reference's texts."""

from __future__ import annotations

from datetime import UTC, datetime

_LAST = datetime.max.replace(tzinfo=UTC)


def stamp(instant: datetime) -> str:
    """The text of an instant for people and programs: RFC 3339 in UTC, to the microsecond.

    All have one form, so that they sort as text. `9999-12-31T23:59:59.999999Z` is the last.
    """
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:
        # Less than a day before the first or after the last instant that UTC can write.
        utc = instant.min.replace(tzinfo=UTC) if instant.year == 1 else _LAST
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
