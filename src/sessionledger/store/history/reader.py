"""Histories, page by page: of a session, of a principal or of everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import partial

import msgspec

from sessionledger.core.events import ERASURE, MARKS, SEALED
from sessionledger.core.history import (
    EventFilter,
    HistoryEntry,
    entries_of,
    entry_for_all,
    parse_filter,
)
from sessionledger.core.instant import microseconds
from sessionledger.core.parse import parse_principal
from sessionledger.core.session import State
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import HistoryCut, InvalidSession
from sessionledger.logs.base import StoredEvent
from sessionledger.store.engine import EVENT_PAGE, Engine, Folder
from sessionledger.store.history.event_order import ids_within
from sessionledger.store.history.past_states import KeptStates, state_before
from sessionledger.store.history.sources import Found, HistoryRange, first, source_of
from sessionledger.store.operations.listings import ANYBODY
from sessionledger.store.pages import check_after, check_size

MOST_LOOKED_AT = 10_000
"""After a look at so many events a page ends, whatever it has found."""
_UNTOLD = MARKS | {SEALED, ERASURE}
_ENDLESS = (1 << 63) - 1
_ALL = EventFilter()


class HistoryPage(msgspec.Struct, frozen=True):
    """Some of a history, and the event after which the next page begins; None after the last.

    With a filter a page may have few entries or none, and a cursor. cut: earlier events, up to this
    one, were removed by a compaction; 0 on all other pages. Newest first, the last page says it.
    """

    entries: list[HistoryEntry]
    cursor: int | None
    cut: int = 0


def history_range(
    handle: object,
    principal: object,
    filters: Mapping[str, object],
    newest_first: bool,
    after: object,
    page_size: int,
    archive: Folder | None,
) -> HistoryRange:
    """The part that a caller asks for. Raises `InvalidSession`."""
    if handle is not None and principal is not None:
        raise InvalidSession("handle", "or principal: history takes one of them")
    if archive is not None and handle is None and principal is None:
        raise InvalidSession("archive", "needs a handle or a principal; `events` reads all of it")
    return HistoryRange(
        key=None if handle is None else parse_handle(handle),
        owner=None if principal is None else parse_principal(principal, ANYBODY),
        wanted=parse_filter(filters),
        newest_first=bool(newest_first),
        after=None if after is None else check_after(after),
        page_size=check_size(page_size),
        archive=archive,
    )


class HistoryReader:
    """Reads a history page by page. It keeps no more than a page, and some states.

    The events above `_low` and up to `_high` are still to be looked at.
    """

    def __init__(self, engine: Engine, part: HistoryRange) -> None:
        self._engine, self._part = engine, part
        self._source = source_of(engine, part)
        self._low, self._high, self._cut = -1, _ENDLESS, 0
        self._states = KeptStates()
        # The last session told of, also if it is over: `_states` keeps only live ones.
        self._last: tuple[bytes, tuple[int, State]] = (b"", (0, None))

    async def page(self) -> HistoryPage:
        """The next page."""
        is_first = self._low < 0
        if is_first:
            await self._begin()
        while True:
            try:
                found, last, more = await self._next()
                break
            except HistoryCut:
                if not self._part.newest_first:
                    raise
                # A compaction came between: it ends where that begins.
                self._low = self._cut = (await self._engine.cut()).id
        entries = await self._entries(found)
        if self._part.newest_first:
            self._high, reaches_cut = last - 1, not more
        else:
            self._low, reaches_cut = last, is_first
        cut = await self._cut_told() if reaches_cut else 0
        return HistoryPage(entries, last if more else None, cut)

    async def _begin(self) -> None:
        """Find out between which events the part lies, and whether some of it was removed.

        For a principal nobody can tell: what ended before then is known by its handle alone.
        """
        part = self._part
        if part.archive is not None:
            from sessionledger.store.audit.archive import with_archive  # few processes ever do

            self._engine = await with_archive(self._engine, part, part.archive)
            self._source = source_of(self._engine, part)
        log, topic = self._engine.log, self._engine.topic
        cut, latest = (await self._engine.cut()).id, await log.latest(topic)
        low, high = cut, _ENDLESS
        if part.newest_first:
            high = latest if part.after is None else min(latest, part.after - 1)
        elif part.after:
            low = part.after
        since, until = map(_milliseconds, (part.wanted.since, part.wanted.until))
        if since is not None or until is not None:
            bounds = (low, min(high, latest), since, until)
            low, high = await log.call(ids_within, partial(log.log.read, topic), *bounds)
        self._low, self._high = low, high
        if low == cut and (part.newest_first or not part.after):
            self._cut = cut

    async def _cut_told(self) -> int:
        """The last event that was removed, if the history had any of those that were."""
        key = self._part.key
        is_whole = key is not None and self._cut and await self._engine.base_row(key) is None
        return 0 if is_whole else self._cut

    async def _next(self) -> tuple[list[Found], int, bool]:
        """What the next page tells, the last event that it looks at, and if more may follow."""
        size, newest_first = self._part.page_size, self._part.newest_first
        limit = size if self._part.wanted == _ALL else EVENT_PAGE
        found: list[Found] = []
        low, high, looked, more, last = self._low, self._high, 0, True, self._low
        while more and len(found) < size and looked < MOST_LOOKED_AT:
            batch = await self._source.next(low, high, limit)
            found += batch.found
            more, looked = batch.more, looked + limit
            last = batch.last
            low, high = (low, last - 1) if newest_first else (last, high)
        told = first(found, size)
        if len(told) < len(found):
            return told, told[-1][1].id, True
        return told, last, more

    async def _entries(self, found: list[Found]) -> list[HistoryEntry]:
        by_key: dict[bytes, list[StoredEvent]] = {}
        entries: list[HistoryEntry] = []
        for key, event in found:
            if key is None:
                entries.append(entry_for_all(event))
            else:
                by_key.setdefault(key, []).append(event)
        for key, events in by_key.items():
            events.sort(key=lambda event: event.id)
            entries += await self._entries_of(key, events)
        newest_first = self._part.newest_first
        return sorted(entries, key=lambda entry: entry.event_id, reverse=newest_first)

    async def _entries_of(self, key: bytes, told: list[StoredEvent]) -> list[HistoryEntry]:
        """The entries of some events of a key, which are in order."""
        ids, entries = {event.id for event in told}, []
        after, state = await self._before(key, told[0].id)
        async for events in self._with_others(key, after, told):
            some, state = entries_of(handle_of(key), events, state)
            entries += [one for one in some if one.event_id in ids]
        if not self._part.newest_first:
            self._states.keep(key, told[-1].id, state)
            self._last = (key, (told[-1].id, state))
        return [one for one in entries if one.changes or one.kind not in _UNTOLD]

    async def _before(self, key: bytes, id: int) -> tuple[int, State]:
        """A state that a key had before an event, and the event after which it was."""
        kept = self._states.take(key)
        if key == self._last[0]:
            return self._last[1]
        return kept or (id - 1, await state_before(self._engine, key, id))

    async def _with_others(
        self, key: bytes, after: int, told: list[StoredEvent]
    ) -> AsyncIterator[list[StoredEvent]]:
        """The events that are told, with those of the key that came between them."""
        while told:
            others, last = list[StoredEvent](), told[-1].id
            if self._part.wanted != _ALL:
                others = await self._engine.log.read_key(self._engine.topic, key, after, EVENT_PAGE)
                if len(others) == EVENT_PAGE:
                    last = min(last, others[-1].id)
            due = {event.id: event for event in (*others, *told) if event.id <= last}
            yield [due[id] for id in sorted(due)]
            told, after = [event for event in told if event.id > last], last


def _milliseconds(instant: datetime | None) -> int | None:
    return None if instant is None else microseconds(instant) // 1000
