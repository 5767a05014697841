"""Events of sessions as they come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec

from sessionledger.core.events import FOR_ALL
from sessionledger.core.history import HistoryEntry, entry_for_all, entry_of
from sessionledger.core.lifetimes import parse_span
from sessionledger.core.parse import parse_principal
from sessionledger.core.session import State
from sessionledger.core.token import handle_of
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import StoredEvent
from sessionledger.store.engine import EVENT_PAGE, Engine
from sessionledger.store.history.past_states import KeptStates, folded
from sessionledger.store.operations.listings import ANYBODY
from sessionledger.store.pages import check_after

MOST_OTHERS = 10_000
"""How many sessions that are not its principal's a watch knows as that, without looking again."""


class CaughtUp(msgspec.Struct, frozen=True):
    """All that had happened has been told; what follows is new. `cursor` is where that was."""

    cursor: int


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
        self._states = KeptStates()
        self._others: set[bytes] = set()

    async def entry_of(self, event: StoredEvent) -> HistoryEntry | None:
        """The event as an entry; None for one that concerns no session, or another owner's."""
        key = self._engine.fold.key_unremembered(event)
        if event.kind in FOR_ALL:
            # It may concern every owner. The states are read again: a mark ended them.
            self._states = KeptStates()
            return entry_for_all(event)
        if key is None or not await self._may_concern(key):
            return None
        before = await self._before(key, event)
        entry, after = entry_of(handle_of(key), before, event)
        self._states.keep(key, event.id, after)
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
            return kept[1]
        state, _ = await folded(self._engine, key, lambda one: one.id < event.id)
        return state


async def _beginning(engine: Engine, after: object) -> int:
    """The event to begin after. Raises `InvalidSession` for one that has not happened: all that
    comes up to it would be missed, in silence."""
    newest = await engine.log.latest(engine.topic)
    if after is None:
        return newest
    after = check_after(after)
    if after > newest:
        raise InvalidSession(
            "after",
            f"is beyond the newest event, {newest}: it is a cursor of another ledger, or of this "
            "one before an older copy was restored",
        )
    return after
