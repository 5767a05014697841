"""Ending every session by one event, the mark, and the ends of their own that follow it."""

from __future__ import annotations

from collections.abc import Sequence

from sessionledger.core.annotations import ACTOR, REASON, refuse_secrets
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Everybody, EverybodyEnded, Expired
from sessionledger.core.history import HistoryEntry, entry_for_all
from sessionledger.core.instant import microseconds
from sessionledger.core.token import handle_of
from sessionledger.logs.base import Appended, Change, LogEvent, Row, RowFilter, StoredEvent, Unit
from sessionledger.store.engine import Annotation, Engine
from sessionledger.store.session_fold import session_of
from sessionledger.store.steps import Step, salted

BATCH = 1000
MARKED = RowFilter(marked=True)


async def revoke_everybody(engine: Engine, annotation: Annotation) -> HistoryEntry:
    """Append the mark. When this returns, no session that began before it is live."""
    headers, now = engine.annotate(annotation), engine.clock()
    kind, payload = encode_event(Everybody(now))
    refuse_secrets(None, payload, headers)
    headers = salted(headers) if headers else headers
    event = LogEvent(kind, payload, headers, microseconds(now) // 1000)
    (outcome,) = await engine.log.append(engine.topic, [Unit([Change(event)])])
    assert isinstance(outcome, Appended)
    id = outcome.ids[0]
    return entry_for_all(StoredEvent(id, kind, payload, headers, event.occurred_at_ms))


async def mark_in_force(engine: Engine) -> StoredEvent | None:
    """The event of the mark whose sessions have yet to get ends of their own; None without one."""
    id = await engine.log.mark(engine.topic)
    events = await engine.log.read(engine.topic, id - 1, 1) if id else []
    return events[0] if events and events[0].id == id else None


async def end_marked(engine: Engine, limit: int) -> int:
    """Append an end for each of at most `limit` sessions that a mark ended; how many.

    Where this stands is in the log: a session that has an end of its own is not among them.
    """
    mark = await engine.log.mark(engine.topic)
    if not mark:
        return 0
    event = await mark_in_force(engine)
    told = {} if event is None else event.headers
    headers = {name: told[name] for name in (REASON, ACTOR) if name in told}
    ended, after = 0, None
    while ended < limit:
        most = min(BATCH, limit - ended)
        rows = await engine.log.rows(engine.topic, MARKED, after, most)
        if not rows:
            # Another program's event may have been faster than an end.
            if not await engine.log.rows(engine.topic, MARKED, None, 1):
                await _lift(engine, mark)
            break
        ended += await _end(engine, rows, headers)
        after = rows[-1]
    return ended


async def _end(engine: Engine, rows: list[Row], headers: dict[str, str]) -> int:
    now = engine.clock()
    units = []
    for row in rows:
        session = session_of(row)
        # A damaged row tells no end.
        end = now if session is None else session.expires_at
        event = Expired(expired_at=end, token_handle=handle_of(row.key), cause="everybody")
        step = Step(event, headers, row.key, row)
        units.append(engine.unit([step], now)[0])
    return await append_ends(engine, units)


async def append_ends(engine: Engine, units: Sequence[Unit]) -> int:
    """Append units that each end a session; how many did, and were not too late."""
    outcomes = await engine.log.append(engine.topic, units)
    ended = sum(isinstance(outcome, Appended) for outcome in outcomes)
    engine.telemetry.swept(ended)
    return ended


async def _lift(engine: Engine, mark: int) -> None:
    """Say that no session is left which the mark alone ended. None can come to it."""
    event = LogEvent(*encode_event(EverybodyEnded(mark)), {}, microseconds(engine.clock()) // 1000)
    await engine.log.append(engine.topic, [Unit([Change(event)])])
