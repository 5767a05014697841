"""What happened: histories, states as they were, and events as they come."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import msgspec

from sessionledger.core.codec import decode_event, decode_state, encode_state
from sessionledger.core.events import ERASURE, EXPIRED, FOR_ALL, MARKS, SEALED, Expired
from sessionledger.core.history import HistoryEntry, entries_of, entry_for_all, entry_of, fold
from sessionledger.core.instant import microseconds, parse_instant
from sessionledger.core.lifetimes import parse_span
from sessionledger.core.parse import parse_principal
from sessionledger.core.session import Session, State
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import HistoryCut, InvalidSession
from sessionledger.logs.base import Row, RowFilter, StoredEvent
from sessionledger.plain import as_number
from sessionledger.store.engine import EVENT_PAGE, Engine, Folder
from sessionledger.store.operations.everybody import mark_in_force
from sessionledger.store.operations.listings import ANYBODY
from sessionledger.store.pages import check_size
from sessionledger.store.session_fold import intact_session_of, state_of

_UNTOLD = MARKS | {SEALED, ERASURE}
KEPT_BYTES = 4 * 1024 * 1024
"""How much a watch keeps of states, as rows hold them."""
MOST_OTHERS = 10_000
"""How many sessions that are not its principal's a watch knows as that, without looking again."""


class CaughtUp(msgspec.Struct, frozen=True):
    """All that had happened has been told; what follows is new. `cursor` is where that was."""

    cursor: int


class HistoryPage(msgspec.Struct, frozen=True):
    """Some of a history, and the event after which the next page begins; None after the last.

    cut: earlier events, up to this one, were removed by a compaction; 0 on all other pages.
    """

    entries: list[HistoryEntry]
    cursor: int | None
    cut: int = 0


class HistoryRange(msgspec.Struct, frozen=True):
    """A part of a history: whose, after which event, in which pages, with which archive."""

    key: bytes | None
    owner: str | None
    after: int
    page_size: int
    archive: Folder | None


def history_range(
    handle: object, principal: object, after: object, page_size: int, archive: Folder | None
) -> HistoryRange:
    """The part that a caller asks for. Raises `InvalidSession`."""
    if (handle is None) == (principal is None):
        raise InvalidSession("handle", "or principal: history takes one of them")
    key = None if handle is None else parse_handle(handle)
    owner = None if principal is None else parse_principal(principal, ANYBODY)
    first = 0 if after is None else _parse_after(after)
    return HistoryRange(key, owner, first, check_size(page_size), archive)


class HistoryReader:
    """Reads a history page by page, oldest first. It keeps no more than a page, and some states."""

    def __init__(self, engine: Engine, part: HistoryRange) -> None:
        self._engine, self._part = engine, part
        self._after, self._archive = part.after, part.archive
        self._begun = part.after > 0
        self._states = _States()
        # The last session told of, also if it is over: `_states` keeps only live ones.
        self._last: tuple[bytes, State] = (b"", None)

    async def page(self) -> HistoryPage:
        """The next page."""
        if self._archive is not None:
            from sessionledger.store.audit.archive import with_archive  # few processes ever do

            self._engine = await with_archive(self._engine, self._part, self._archive)
            self._archive = None
        size = self._part.page_size
        cut = 0 if self._begun else await self._begin()
        # One more than is told, to know whether another page follows.
        found = await self._events(size)
        told = _first(found, size)
        if told:
            self._after = told[-1][1].id
        entries = await self._entries(told)
        return HistoryPage(entries, self._after if len(found) > len(told) else None, cut)

    async def _begin(self) -> int:
        """Begin after the events that were removed; the last one, if the history had any of them.

        For a principal nobody can tell: what ended before then is known by its handle alone.
        """
        self._begun = True
        key, self._after = self._part.key, (await self._engine.cut()).id
        if key is not None and await self._engine.base_row(key) is None:
            return 0
        return self._after

    async def _events(self, size: int) -> list[tuple[bytes, StoredEvent]]:
        """The next events, each with its key: those of a page, and one more."""
        engine, key = self._engine, self._part.key
        mark = await mark_in_force(engine)
        if mark is not None and mark.id <= self._after:
            mark = None
        if key is not None:
            row = await engine.log.row(engine.topic, key)
            return await self._events_of(key, row, mark, size + 1)
        nearest: list[tuple[bytes, StoredEvent]] = []
        async for row in engine.rows(RowFilter(owner=self._part.owner)):
            if len(nearest) > len(_first(nearest, size)) and row.created > nearest[-1][1].id:
                break  # rows come by their first event: all that follow begin later
            if row.version > self._after:
                nearest += await self._events_of(row.key, row, mark, size + 1)
                nearest.sort(key=lambda one: one[1].id)
                del nearest[len(_first(nearest, size)) + 1 :]
        return nearest

    async def _events_of(
        self, key: bytes, row: Row | None, mark: StoredEvent | None, limit: int
    ) -> list[tuple[bytes, StoredEvent]]:
        """The next events of a key, with the mark or the selection that ended its session.

        A mark is told only while the session has no end of its own.
        """
        log, topic = self._engine.log, self._engine.topic
        events = list(await log.read_key(topic, key, self._after, limit))
        ends = [event for event in events if event.kind == EXPIRED]
        before = row is not None and mark is not None and row.created <= mark.id
        if mark is not None and before and all(end.id < mark.id for end in ends):
            events.append(mark)
        selection = _selection(row, ends)
        if selection is not None and selection > self._after:
            found = await log.read(topic, selection - 1, 1)
            events += [event for event in found if event.id == selection]
        events.sort(key=lambda event: event.id)
        return [(key, event) for event in events[:limit]]

    async def _entries(self, found: list[tuple[bytes, StoredEvent]]) -> list[HistoryEntry]:
        by_key: dict[bytes, list[StoredEvent]] = {}
        for key, event in found:
            by_key.setdefault(key, []).append(event)
        entries: list[HistoryEntry] = []
        for key, events in by_key.items():
            told, state = entries_of(handle_of(key), events, await self._before(key, events[0].id))
            self._states.keep(key, state)
            self._last = (key, state)
            entries += [one for one in told if one.changes or one.kind not in _UNTOLD]
        return sorted(entries, key=lambda entry: entry.event_id)

    async def _before(self, key: bytes, id: int) -> State:
        if key == self._last[0]:
            return self._last[1]
        kept = self._states.take(key)
        return kept if kept is not None else await _state_before(self._engine, key, id)


async def as_of(engine: Engine, handle: object, at: object) -> Session | None:
    """The session as its events up to an instant had made it; None where it had not begun."""
    key, instant = parse_handle(handle), parse_instant("at", at)
    until = microseconds(instant) // 1000
    await _refuse_removed(engine, key, until)

    def counts(event: StoredEvent) -> bool:
        if event.occurred_at_ms <= until:
            return True
        # The end that follows a mark: it was over when the mark was there.
        end = decode_event(event.kind, event.payload) if event.kind == EXPIRED else None
        return isinstance(end, Expired) and end.cause == "everybody" and end.expired_at <= instant

    state, version = await _folded(engine, key, counts)
    if not isinstance(state, Session):
        return None
    return msgspec.structs.replace(state, version=version)


async def _refuse_removed(engine: Engine, key: bytes, until: int) -> None:
    """Raises `HistoryCut` for an instant before the last event that was removed, in milliseconds,
    unless the key was begun after it."""
    cut = await engine.cut()
    if not cut.id or await engine.base_row(key) is None:
        return
    if until < (await engine.seal(cut)).newest_at_ms:
        raise HistoryCut(cut.id)


async def watch(
    engine: Engine, after: int | None, principal: object, heartbeat: timedelta | None
) -> AsyncIterator[HistoryEntry | CaughtUp]:
    """Every event with an id above `after`, from then on for ever."""
    owner = None if principal is None else parse_principal(principal, ANYBODY)
    cursor = await _beginning(engine, after)
    patience = None if heartbeat is None else parse_span("heartbeat", heartbeat).total_seconds()
    reader = _EntryReader(engine, owner)
    while True:
        while page := await engine.events(cursor, EVENT_PAGE):
            for event in page:
                entry = await reader.entry_of(event)
                if entry is not None:
                    yield entry
            cursor = page[-1].id
        yield CaughtUp(cursor)
        await _wait(engine, cursor, patience)


async def _wait(engine: Engine, cursor: int, patience: float | None) -> None:
    """Wait until something happens, or as long as that. Raises `StoreClosed`."""
    end = None if patience is None else time.monotonic() + patience
    head, left = cursor, patience
    while head <= cursor and (left is None or left > 0):
        engine.check_open()
        head = await engine.log.wait(engine.topic, cursor, left)
        left = None if end is None else end - time.monotonic()


class _EntryReader:
    """Tells events of many sessions in order, or of those of one owner, with what each changed."""

    def __init__(self, engine: Engine, owner: str | None) -> None:
        self._engine = engine
        self._owner = owner
        self._states = _States()
        self._others: set[bytes] = set()

    async def entry_of(self, event: StoredEvent) -> HistoryEntry | None:
        """The event as an entry; None for one that concerns no session, or another owner's."""
        key = self._engine.fold.key_unremembered(event)
        if event.kind in FOR_ALL:
            # It may concern every owner. The states are read again: a mark ended them.
            self._states = _States()
            return entry_for_all(event)
        if key is None or not await self._may_concern(key):
            return None
        before = await self._before(key, event)
        entry, after = entry_of(handle_of(key), before, event)
        self._states.keep(key, after)
        return entry if self._owner in (None, entry.principal) else None

    async def _may_concern(self, key: bytes) -> bool:
        """Whether the session is the owner's: it never passes to another one."""
        if self._owner is None:
            return True
        if key in self._others:
            return False
        row = await self._engine.log.row(self._engine.topic, key)
        # Without a row, or with one that was made by an end alone, it has yet to be somebody's.
        if row is not None and row.owner not in ("", self._owner):
            self._know_other(key)
        return row is not None and row.owner == self._owner

    def _know_other(self, key: bytes) -> None:
        if len(self._others) >= MOST_OTHERS:
            self._others.clear()
        self._others.add(key)

    async def _before(self, key: bytes, event: StoredEvent) -> State:
        kept = self._states.take(key)
        if kept is not None:
            return kept
        state, _ = await _folded(self._engine, key, lambda one: one.id < event.id)
        return state


class _States:
    """The states of the live sessions told of last. Any other is folded from its events again:
    of a session that is over nothing more is to come."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def take(self, key: bytes) -> State:
        """The state of a key, which is kept no more; None where it was not."""
        state = self._kept.pop(key, None)
        if state is None:
            return None
        self._bytes -= len(state)
        return decode_state(state)

    def keep(self, key: bytes, state: State) -> None:
        if not isinstance(state, Session) or state.ended_at is not None:
            return
        self._kept[key] = encode_state(state)
        self._bytes += len(self._kept[key])
        while self._bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def _selection(row: Row | None, ends: list[StoredEvent]) -> int | None:
    """The id of the selection that ended a session, maybe since its row was read."""
    read = (decode_event(end.kind, end.payload) for end in ends)
    known = (intact_session_of(row), *read)
    ids = (one.selection for one in known if isinstance(one, Session | Expired) and one.selection)
    return next(ids, None)


def _first(found: list[tuple[bytes, StoredEvent]], limit: int) -> list[tuple[bytes, StoredEvent]]:
    """So many of them, and all that have the id of the last one: a mark ends several sessions."""
    if len(found) <= limit:
        return found
    last = found[limit - 1][1].id
    return found[:limit] + [one for one in found[limit:] if one[1].id == last]


async def _state_before(engine: Engine, key: bytes, id: int) -> State:
    """The state that a key's events before one fold to."""
    state = state_of(await engine.base_row(key))
    async for page in _pages(engine, key):
        earlier = [event for event in page if event.id < id]
        state = fold(handle_of(key), earlier, state)
        if len(earlier) < len(page):
            break
    return state


async def _folded(
    engine: Engine, key: bytes, counts: Callable[[StoredEvent], bool]
) -> tuple[State, int]:
    """The state that those of a key's events which count fold to, and the id of the last one."""
    while True:
        try:
            return await _folded_from_base(engine, key, counts)
        except HistoryCut:
            continue  # a compaction came between


async def _folded_from_base(
    engine: Engine, key: bytes, counts: Callable[[StoredEvent], bool]
) -> tuple[State, int]:
    cut, begun = await engine.cut(), await engine.base_row(key)
    state = state_of(begun)
    version = 0 if begun is None else begun.version
    async for page in _pages(engine, key):
        if counted := [event for event in page if counts(event)]:
            before, state = state, fold(handle_of(key), counted, state)
            # A mark is no event of a session that was over.
            if state is not before or counted[-1].kind not in MARKS:
                version = counted[-1].id
    if (now := await engine.cut()) != cut:
        raise HistoryCut(now.id)  # of a key that was forgotten meanwhile, this is not all
    return state, version


async def _pages(engine: Engine, key: bytes) -> AsyncIterator[list[StoredEvent]]:
    """The events of a key, in order. An event loop goes on between one page and the next.

    The mark follows them, alone, where it is the end of a session that has none of its own.
    """
    mark = await mark_in_force(engine)
    known = await engine.base_row(key) is not None
    after = (await engine.cut()).id
    while page := await engine.log.read_key(engine.topic, key, after, EVENT_PAGE):
        yield page
        if mark is not None and not known and page[0].id > mark.id:
            mark = None
        known = True
        if mark is not None and any(e.id > mark.id and e.kind == EXPIRED for e in page):
            mark = None
        after = page[-1].id
    if mark is not None and known:
        yield [mark]


def _parse_after(after: object) -> int:
    number = as_number(after)
    if number is None or number < 0:
        raise InvalidSession("after", "must be the id of an event, or 0")
    return number


async def _beginning(engine: Engine, after: object) -> int:
    """The event to begin after. Raises `InvalidSession` for one that has not happened: all that
    comes up to it would be missed, in silence."""
    newest = await engine.log.latest(engine.topic)
    if after is None:
        return newest
    after = _parse_after(after)
    if after > newest:
        raise InvalidSession(
            "after",
            f"is beyond the newest event, {newest}: it is a cursor of another ledger, or of this "
            "one before an older copy was restored",
        )
    return after
