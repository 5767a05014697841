"""What happened: histories, states as they were, and events as they come."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import msgspec

from sessionledger.core.codec import decode_event, decode_state, encode_state
from sessionledger.core.events import EVERYBODY, EXPIRED, MARKS, Expired
from sessionledger.core.history import HistoryEntry, fold, narrate, tell, tell_all
from sessionledger.core.instant import microseconds, parse_instant
from sessionledger.core.lifetimes import parse_span
from sessionledger.core.parse import parse_principal
from sessionledger.core.session import Session, State
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import RowFilter, StoredEvent
from sessionledger.store.engine import EVENT_PAGE, NOTICE_SECONDS, Engine
from sessionledger.store.operations.everybody import mark_in_force
from sessionledger.store.operations.listings import ANYBODY

KEPT_BYTES = 4 * 1024 * 1024
"""How much a watch keeps of states, as rows hold them."""
MOST_OTHERS = 10_000
"""How many sessions that are not its principal's a watch knows as that, without looking again."""


class CaughtUp(msgspec.Struct, frozen=True):
    """All that had happened has been told; what follows is new. `cursor` is where that was."""

    cursor: int


async def history(engine: Engine, handle: object, principal: object) -> list[HistoryEntry]:
    """What happened to a session, or to all of a principal, oldest first."""
    if (handle is None) == (principal is None):
        raise InvalidSession("handle", "or principal: history takes one of them")
    if handle is not None:
        return await _narrated(engine, parse_handle(handle))
    owner = parse_principal(principal, ANYBODY)
    entries: list[HistoryEntry] = []
    async for row in engine.rows(RowFilter(owner=owner)):
        entries += await _narrated(engine, row.key)
    return sorted(entries, key=lambda entry: entry.event_id)


async def as_of(engine: Engine, handle: object, at: object) -> Session | None:
    """The session as its events up to an instant had made it; None where it had not begun."""
    key, instant = parse_handle(handle), parse_instant("at", at)
    until = microseconds(instant) // 1000

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


async def watch(
    engine: Engine, after: int | None, principal: object, heartbeat: timedelta | None
) -> AsyncIterator[HistoryEntry | CaughtUp]:
    """Every event with an id above `after`, from then on for ever."""
    owner = None if principal is None else parse_principal(principal, ANYBODY)
    cursor = await _beginning(engine, after)
    patience = None if heartbeat is None else parse_span("heartbeat", heartbeat).total_seconds()
    narrator = _Narrator(engine, owner)
    while True:
        while page := await engine.log.read(engine.topic, cursor, EVENT_PAGE):
            for event in page:
                entry = await narrator.tell(event)
                if entry is not None:
                    yield entry
            cursor = page[-1].id
        yield CaughtUp(cursor)
        await _wait(engine, cursor, patience)


async def _wait(engine: Engine, cursor: int, patience: float | None) -> None:
    """Wait until something happens, or as long as that. Raises `StoreClosed`."""
    end = None if patience is None else time.monotonic() + patience
    head, left = cursor, 1.0
    while head <= cursor and left > 0:
        engine.check_open()
        left = NOTICE_SECONDS if end is None else end - time.monotonic()
        head = await engine.log.wait(engine.topic, cursor, max(0, min(left, NOTICE_SECONDS)))


class _Narrator:
    """Tells events of many sessions in order, or of those of one owner, with what each changed."""

    def __init__(self, engine: Engine, owner: str | None) -> None:
        self._engine = engine
        self._owner = owner
        self._states = _States()
        self._others: set[bytes] = set()

    async def tell(self, event: StoredEvent) -> HistoryEntry | None:
        """The event as an entry; None for one that concerns no session, or another owner's."""
        key = self._engine.fold.key_unremembered(event)
        if event.kind == EVERYBODY:
            # It concerns every owner. The states are read again, since it ended them.
            self._states = _States()
            return tell_all(event)
        if key is None or not await self._may_concern(key):
            return None
        before = await self._before(key, event)
        entry, after = tell(handle_of(key), before, event)
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


async def _narrated(engine: Engine, key: bytes) -> list[HistoryEntry]:
    """The history of a key."""
    entries: list[HistoryEntry] = []
    state: State = None
    async for page in _pages(engine, key):
        told, state = narrate(handle_of(key), page, state)
        entries += [one for one in told if one.changes or one.kind not in MARKS]
    return entries


async def _folded(
    engine: Engine, key: bytes, counts: Callable[[StoredEvent], bool]
) -> tuple[State, int]:
    """The state that those of a key's events which count fold to, and the id of the last one."""
    state: State = None
    version = 0
    async for page in _pages(engine, key):
        if counted := [event for event in page if counts(event)]:
            before, state = state, fold(handle_of(key), counted, state)
            # A mark is no event of a session that was over.
            if state is not before or counted[-1].kind not in MARKS:
                version = counted[-1].id
    return state, version


async def _pages(engine: Engine, key: bytes) -> AsyncIterator[list[StoredEvent]]:
    """The events of a key, in order. An event loop goes on between one page and the next.

    The mark follows them, alone, where it is the end of a session that has none of its own.
    """
    mark = await mark_in_force(engine)
    after = 0
    while page := await engine.log.read_key(engine.topic, key, after, EVENT_PAGE):
        yield page
        if mark is not None and not after and page[0].id > mark.id:
            mark = None
        if mark is not None and any(e.id > mark.id and e.kind == EXPIRED for e in page):
            mark = None
        after = page[-1].id
    if mark is not None and after:
        yield [mark]


async def _beginning(engine: Engine, after: object) -> int:
    """The event to begin after. Raises `InvalidSession` for one that has not happened: all that
    comes up to it would be missed, in silence."""
    if after is not None and (type(after) is not int or after < 0):
        raise InvalidSession("after", "must be the id of an event, or 0")
    newest = await engine.log.latest(engine.topic)
    if after is None:
        return newest
    if after > newest:
        raise InvalidSession(
            "after",
            f"is beyond the newest event, {newest}: it is a cursor of another ledger, or of this "
            "one before an older copy was restored",
        )
    return after
