"""Events backwards, and those between two instants, by reads that go forward only.

Ids follow the times of events, with three exceptions. Clocks differ by up to `CLOCK_TOLERANCE`. The
stub of an erased event has the beginning of its day. A single event may have an earlier time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from sessionledger.core.annotations import ERASED
from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.logs.base import StoredEvent

Read: TypeAlias = Callable[[int, int], list[StoredEvent]]
"""The events with an id above one, in order, at most so many: of a topic, or of a key."""

SAMPLE = 16
"""So many events in a row are compared with an instant: a few may have earlier times."""
_DAY_MS = timedelta(days=1) // timedelta(milliseconds=1)
_TOLERANCE_MS = CLOCK_TOLERANCE // timedelta(milliseconds=1)


def latest_ms(event: StoredEvent) -> int:
    """The latest time that an event before this one may have, in milliseconds since 1970."""
    return event.occurred_at_ms + _TOLERANCE_MS + (_DAY_MS if ERASED in event.headers else 0)


def events_before(
    read: Read, high: int, low: int, limit: int, *, is_dense: bool
) -> list[StoredEvent]:
    """The newest events with ids above `low` and up to `high`, newest first, at most `limit`.

    is_dense: most ids are there, as in a topic.
    """
    found: list[StoredEvent] = []
    while len(found) < limit:
        most = limit - len(found)
        page = _some_before(read, high, low, most, high - most if is_dense else low)
        if not page:
            break
        found += reversed(page)
        high = page[0].id - 1
    return found


def _some_before(read: Read, high: int, low: int, limit: int, guess: int) -> list[StoredEvent]:
    """The newest events up to `high`, in order: at most `limit`, and one at least if there are any.

    The first try is behind `guess`. From there on the ids are bisected: a restore leaves out so
    many that nobody can walk them.
    """
    floor, start = low, max(low, guess)
    while low < high:
        page = [event for event in read(start, limit + 1) if event.id <= high]
        if len(page) > limit:
            low = start
        elif page:
            return page
        elif start == floor:
            break
        else:
            high = start
        start = (low + high) // 2
    return []


def ids_within(
    read: Read, low: int, high: int, since_ms: int | None, until_ms: int | None
) -> tuple[int, int]:
    """The ids, above one and up to another, that hold all events between two instants.

    Others are among them: compare the time of each. Stubs may be missing, whose time is another
    one. low, high: which ids are searched.
    """
    if since_ms is not None:
        low = _last_before(read, low, high, since_ms, latest_ms)
        for event in read(low, SAMPLE):
            if latest_ms(event) >= since_ms:
                break
            low = event.id
    if until_ms is not None:
        last = _last_before(read, low, high, until_ms, _earliest_ms)
        beyond = read(last, SAMPLE)
        high = min(high, beyond[-1].id) if beyond else high
    return low, high


def _earliest_ms(event: StoredEvent) -> int:
    """The earliest time that an event after this one may have."""
    return event.occurred_at_ms - _TOLERANCE_MS


def _last_before(
    read: Read, low: int, high: int, at_ms: int, time_of: Callable[[StoredEvent], int]
) -> int:
    """The id up to which all events happened before an instant, by a bisection."""
    while low < high:
        middle = (low + high) // 2
        page = read(middle, SAMPLE)
        if page and max(map(time_of, page)) < at_ms:
            low = page[-1].id
        else:
            high = middle
    return low
