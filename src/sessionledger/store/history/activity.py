"""How much happened, by hours: counted from the log, each event once.

A process keeps what it counted. The next call reads what is new, and goes on with older events
where the last call stopped. So asking often costs little.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from functools import partial
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from sessionledger.core.events import TOUCHED, Created, Everybody, Expired
from sessionledger.core.history import HistoryEntry, decoded
from sessionledger.core.instant import from_milliseconds, microseconds, parse_instant
from sessionledger.errors import HistoryCut, InvalidSession
from sessionledger.logs.base import StoredEvent
from sessionledger.store.engine import EVENT_PAGE, Engine
from sessionledger.store.history.event_order import (
    SAMPLE,
    Read,
    events_before,
    ids_within,
    latest_ms,
)

MOST_COUNTED = 100_000
"""How many events one call reads. The next one goes on with older ones."""
MOST_KEPT = 150_000
"""How many counts are kept: up to a dozen for an hour. With more of them a call counts again."""

_HOUR_MS = 3_600_000
_UNITS = {"hour": (1, 1000), "day": (24, 400)}
"""How many hours an interval has, and how many intervals one may ask for."""
_NEVER_MS = 1 << 60

Counts: TypeAlias = Counter[tuple[int, str]]
"""By the hour, counted from 1970 UTC, and by what happened. A colon stands before causes."""


class ActivityInterval(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in the hour or day of UTC that begins at `begins_at`, as events tell it.

    begun: new sessions. rotated: tokens that were replaced, of the same login. children: sessions
    that began below another one. ended: recorded ends, by cause, or "other". reused: how often a
    token was presented after its rotation. everybody: how often one event ended all sessions.
    """

    begins_at: datetime
    begun: int
    rotated: int
    children: int
    ended: dict[str, int]
    reused: int
    everybody: int


class Activity(msgspec.Struct, frozen=True):
    """What happened, by intervals without a gap, oldest first.

    counted_from: all events since then are counted. An interval that begins earlier may lack some:
    they were removed, or were too many for one call. more: the next call counts more of those.
    """

    intervals: list[ActivityInterval]
    counted_from: datetime
    more: bool


class Counted(msgspec.Struct, frozen=True):
    """What the events with ids above `low` and up to `high` tell.

    from_ms: since then nothing has an id that is `low` or lower. reuses: when reuse was found.
    """

    low: int
    high: int
    from_ms: int = _NEVER_MS
    counts: Counts = msgspec.field(default_factory=Counter)
    reuses: frozenset[int] = frozenset()


async def activity(engine: Engine, since: object, until: object, per: str) -> Activity:
    """What happened between two instants, by hours or days. Raises `InvalidSession`."""
    if per not in _UNITS:
        raise InvalidSession("per", f"must be one of {', '.join(_UNITS)}")
    (hours, most), now = _UNITS[per], engine.clock()
    span = hours * _HOUR_MS
    first = _milliseconds(parse_instant("since", since)) // span
    end = _milliseconds(now) // span + 1
    if until is not None:
        end = -(-_milliseconds(parse_instant("until", until)) // span)
    if not first < end <= first + most:
        field, other = ("since", "before now") if until is None else ("until", "after since")
        raise InvalidSession(field, f"must be {other}, by at most {most} {per}s")
    counted = await _counted(engine, first * span, None if until is None else end * span)
    counted_from = min(max(counted.from_ms, first * span), max(end * span, _milliseconds(now)))
    more = counted.from_ms > first * span and counted.low > (await engine.cut()).id
    intervals = _intervals(counted, first, end, hours)
    return Activity(intervals, from_milliseconds(counted_from), more)


async def _counted(engine: Engine, since_ms: int, until_ms: int | None) -> Counted:
    """What was counted before, with what is newer and older than that."""
    log, known = engine.log, engine.counted
    latest = last = await log.latest(engine.topic)
    if until_ms is not None:
        read, cut = partial(log.log.read, engine.topic), (await engine.cut()).id
        _, last = await log.call(ids_within, read, cut, latest, None, until_ms)
    if known is not None and known.low <= last <= known.high:
        counted = replace(known, counts=Counter(known.counts))
        counted = await _continued(engine, counted, None, since_ms)
    elif last == latest or known is None:
        counted = await _continued(engine, Counted(last, last), known, since_ms)
    else:  # long ago: what is kept is asked for more often
        return await _continued(engine, Counted(last, last), None, since_ms)
    engine.counted = counted if len(counted.counts) <= MOST_KEPT else None
    return counted


async def _continued(
    engine: Engine, counted: Counted, known: Counted | None, since_ms: int
) -> Counted:
    """Count back from the oldest event that is counted, on to those that were counted before."""
    left = MOST_COUNTED
    while known is not None or counted.from_ms > since_ms:
        if known is not None and counted.low <= known.high:
            counted, known = _joined(counted, known), None
            continue
        cut = (await engine.cut()).id
        if counted.low <= cut:
            return counted if cut else replace(counted, from_ms=0)
        if left <= 0:
            break
        read, low = partial(engine.log.log.read, engine.topic), max(cut, known.high if known else 0)
        try:
            page, looked = await engine.log.call(_page, read, counted.low, low)
        except HistoryCut:
            continue  # a compaction came between
        counted, left = _joined(counted, page), left - looked
    return counted


def _page(read: Read, high: int, low: int) -> tuple[Counted, int]:
    """What the newest events up to `high` tell, and how many they are."""
    events = events_before(read, high, low, EVENT_PAGE, is_dense=True)
    counts, reuses = Counts(), set[int]()
    for event in events:
        what = _what(event)
        if what is not None:
            counts[event.occurred_at_ms // _HOUR_MS, what] += 1
        if what == ":reused":
            reuses.add(event.occurred_at_ms)
    oldest = events[-1].id - 1 if len(events) == EVENT_PAGE else low
    from_ms = max(map(latest_ms, events[-SAMPLE:]), default=_NEVER_MS)
    return Counted(oldest, high, from_ms, counts, frozenset(reuses)), len(events)


def _what(event: StoredEvent) -> str | None:
    """What an event counts as; None for a sighting, and for what tells nothing of a session."""
    if event.kind == TOUCHED:
        return None
    match decoded(event):
        case Created(family=None, ancestors=()):
            return "begun"
        case Created(family=None):
            return "children"
        case Created():
            return "rotated"
        case Expired(cause=cause):
            return f":{cause if cause in HistoryEntry.CAUSES else 'other'}"
        case Everybody():
            return "everybody"
    return None


def _joined(counted: Counted, older: Counted) -> Counted:
    """Both, one behind the other. The counts are added to those of the first one."""
    counted.counts.update(older.counts)
    return Counted(
        older.low,
        counted.high,
        counted.from_ms if older.from_ms == _NEVER_MS else older.from_ms,
        counted.counts,
        counted.reuses | older.reuses,
    )


def _intervals(counted: Counted, first: int, end: int, hours: int) -> list[ActivityInterval]:
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for (hour, what), count in counted.counts.items():
        found[hour // hours][what] += count
    for ms in counted.reuses:
        found[ms // _HOUR_MS // hours]["reused"] += 1
    return [_interval(number * hours, found[number]) for number in range(first, end)]


def _interval(hour: int, told: Counter[str]) -> ActivityInterval:
    return ActivityInterval(
        begins_at=from_milliseconds(hour * _HOUR_MS),
        ended={what[1:]: told[what] for what in sorted(told) if what.startswith(":")},
        **{name: told[name] for name in ("begun", "rotated", "children", "reused", "everybody")},
    )


def _milliseconds(instant: datetime) -> int:
    return microseconds(instant) // 1000
