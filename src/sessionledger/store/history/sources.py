"""Where a history takes its events from: a session, the sessions of a principal, or everybody's.

Each source answers the next events in the order that is asked for. It judges them by themselves,
before anything is folded.
"""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import msgspec

from sessionledger.core.codec import decode_event
from sessionledger.core.events import EXPIRED, FOR_ALL, Expired
from sessionledger.core.history import EventFilter
from sessionledger.core.session import Session
from sessionledger.logs.base import Row, RowFilter, StoredEvent
from sessionledger.store.engine import EVENT_PAGE, Engine, Folder
from sessionledger.store.history.event_order import events_before
from sessionledger.store.operations.everybody import mark_in_force
from sessionledger.store.session_fold import intact_session_of

Found: TypeAlias = tuple[bytes | None, StoredEvent]
"""An event with the key that it is told of; None where it is told of many sessions."""


class HistoryRange(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a history: whose, which events, in which order, from where, in which pages."""

    key: bytes | None = None
    owner: str | None = None
    wanted: EventFilter = EventFilter()
    newest_first: bool = False
    after: int | None = None
    page_size: int
    archive: Folder | None = None


class Batch(msgspec.Struct, frozen=True):
    """The next events that are wanted, and the id of the last event that was looked at for them.

    more: whether there are events behind it.
    """

    found: list[Found]
    last: int
    more: bool


def source_of(engine: Engine, part: HistoryRange) -> _OfEverybody | _OfSessions:
    """What answers, for a part, the next events with ids above one and up to another."""
    if part.key is None and part.owner is None:
        return _OfEverybody(engine, part)
    return _OfSessions(engine, part)


def first(found: list[Found], limit: int) -> list[Found]:
    """So many of them, and all that have the id of the last one: a mark ends several sessions."""
    if len(found) <= limit:
        return found
    last = found[limit - 1][1].id
    return found[:limit] + [one for one in found[limit:] if one[1].id == last]


class _Events:
    """Reads the events of the topic, or of a key, in the order of a part."""

    def __init__(self, engine: Engine, part: HistoryRange) -> None:
        self._engine, self._part = engine, part

    async def _read(self, key: bytes | None, low: int, high: int, limit: int) -> list[StoredEvent]:
        log, topic = self._engine.log, self._engine.topic
        if self._part.newest_first:
            read = partial(log.log.read, topic)
            if key is not None:
                read = partial(log.log.read_key, topic, key)
            call = partial(events_before, is_dense=key is None)
            return await log.call(call, read, high, low, limit)
        events = (
            await log.read(topic, low, limit)
            if key is None
            else await log.read_key(topic, key, low, limit)
        )
        return [event for event in events if event.id <= high]


class _OfEverybody(_Events):
    """All events of the topic that concern sessions."""

    async def next(self, low: int, high: int, limit: int) -> Batch:
        events = await self._read(None, low, high, limit + 1)
        more = len(events) > limit
        del events[limit:]
        wanted = self._part.wanted
        told = (self._told(event) for event in events if wanted.admits(event))
        found = [one for one in told if one is not None]
        return Batch(found, events[-1].id if events else 0, more)

    def _told(self, event: StoredEvent) -> Found | None:
        if event.kind in FOR_ALL:
            return None, event
        key = self._engine.fold.key_unremembered(event)
        return None if key is None else (key, event)


class _OfSessions(_Events):
    """The events of one key, or of all keys of an owner."""

    async def next(self, low: int, high: int, limit: int) -> Batch:
        nearest = await self._nearest(low, high, limit)
        looked = first(nearest, limit)
        found = [one for one in looked if self._part.wanted.admits(one[1])]
        return Batch(found, looked[-1][1].id if looked else 0, len(nearest) > len(looked))

    async def _nearest(self, low: int, high: int, limit: int) -> list[Found]:
        """The next events, each with its key: so many, and one more."""
        engine, part = self._engine, self._part
        mark = await mark_in_force(engine)
        if mark is not None and not low < mark.id <= high:
            mark = None
        if part.key is not None:
            row = await engine.log.row(engine.topic, part.key)
            return await self._events_of(part.key, row, mark, low, high, limit + 1)
        nearest: list[Found] = []
        async for row in engine.rows(RowFilter(owner=part.owner)):
            is_full = len(nearest) > len(first(nearest, limit))
            if row.created > (nearest[-1][1].id if is_full and not part.newest_first else high):
                break  # rows come by their first event: all that follow begin later
            if row.version <= (nearest[-1][1].id if is_full and part.newest_first else low):
                continue
            nearest += await self._events_of(row.key, row, mark, low, high, limit + 1)
            nearest.sort(key=_id_of, reverse=part.newest_first)
            del nearest[len(first(nearest, limit)) + 1 :]
        return nearest

    async def _events_of(
        self, key: bytes, row: Row | None, mark: StoredEvent | None, low: int, high: int, limit: int
    ) -> list[Found]:
        """The next events of a key, with the mark or the selection that ended its session."""
        events = await self._read(key, low, high, limit)
        if mark is not None and await self._is_the_end_of(mark, key, row):
            events.append(mark)
        selection = _selection(row, events)
        if selection is not None and low < selection <= high:
            found = await self._engine.log.read(self._engine.topic, selection - 1, 1)
            events += [event for event in found if event.id == selection]
        events.sort(key=lambda event: event.id, reverse=self._part.newest_first)
        return [(key, event) for event in events[:limit]]

    async def _is_the_end_of(self, mark: StoredEvent, key: bytes, row: Row | None) -> bool:
        """Whether a session that a mark ended has no end of its own, which is told instead."""
        if row is None or row.created > mark.id:
            return False
        log, topic = self._engine.log, self._engine.topic
        events = await log.read_key(topic, key, mark.id, EVENT_PAGE)
        return all(event.kind != EXPIRED for event in events)


def _id_of(found: Found) -> int:
    return found[1].id


def _selection(row: Row | None, events: list[StoredEvent]) -> int | None:
    """The id of the selection that ended a session, maybe since its row was read."""
    ends = (decode_event(one.kind, one.payload) for one in events if one.kind == EXPIRED)
    known = (intact_session_of(row), *ends)
    ids = (one.selection for one in known if isinstance(one, Session | Expired) and one.selection)
    return next(ids, None)
