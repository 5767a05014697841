"""States as they were: folded from the events before, and kept for the next ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

import msgspec

from sessionledger.core.codec import decode_event, decode_state, encode_state
from sessionledger.core.events import EXPIRED, MARKS, Expired
from sessionledger.core.history import fold
from sessionledger.core.instant import microseconds, parse_instant
from sessionledger.core.session import Session, State
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import HistoryCut
from sessionledger.logs.base import StoredEvent
from sessionledger.store.engine import EVENT_PAGE, Engine
from sessionledger.store.operations.everybody import mark_in_force
from sessionledger.store.session_fold import state_of

KEPT_BYTES = 4 * 1024 * 1024
"""How much is kept of states, as rows hold them."""


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

    state, version = await folded(engine, key, counts)
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


class KeptStates:
    """The states of the live sessions told of last, each with the id of its last event. Any other
    is folded from its events again: of a session that is over nothing more is to come."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self._bytes = 0

    def take(self, key: bytes) -> tuple[int, State] | None:
        """The state of a key, which is kept no more; None where it was not."""
        id, state = self._kept.pop(key, (0, b""))
        self._bytes -= len(state)
        return (id, decode_state(state)) if state else None

    def keep(self, key: bytes, id: int, state: State) -> None:
        """Keep the state after an event, in place of an earlier one that was taken."""
        if not isinstance(state, Session) or state.ended_at is not None:
            return
        self._kept[key] = (id, encode_state(state))
        self._bytes += len(self._kept[key][1])
        while self._bytes > KEPT_BYTES:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


async def state_before(engine: Engine, key: bytes, id: int) -> State:
    """The state that a key's events before one fold to."""
    state = state_of(await engine.base_row(key))
    async for page in _pages(engine, key):
        earlier = [event for event in page if event.id < id]
        state = fold(handle_of(key), earlier, state)
        if len(earlier) < len(page):
            break
    return state


async def folded(
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
