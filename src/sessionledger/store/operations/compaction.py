"""Compaction: removing the events that are older than a retention, while every session stays.

1. What lapsed is swept first, so that it has an end in the log.
2. The events are walked, and their chain is verified, before anything is changed.
3. The log folds them into its base, seals that, and removes them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

import msgspec

from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.core.families import remains_of
from sessionledger.core.instant import microseconds
from sessionledger.core.lifetimes import parse_retention
from sessionledger.errors import InvalidSession, LogUnavailable
from sessionledger.logs.base import OVER, Draft, Progress, Row, RowFilter
from sessionledger.logs.compaction.choice import Choice, Limits
from sessionledger.logs.compaction.contract import CompactableLog, Compaction, Removal
from sessionledger.logs.compaction.seal import read_seal
from sessionledger.plain import as_number
from sessionledger.store.engine import EVENT_PAGE, Engine
from sessionledger.store.operations.sweep import BATCH, sweep
from sessionledger.store.session_fold import draft_of, intact_session_of, state_of

_MILLISECOND = timedelta(milliseconds=1)


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction removed, or would remove.

    cut: the last event that was removed. events, bytes: how many, and of what size. sessions: how
    many that had ended became tombstones. held_back_by: the consumer whose cursor keeps more
    events from being removed, if there is one. sealed: False if nothing was changed.
    """

    cut: int
    events: int
    bytes: int
    sessions: int
    held_back_by: str | None
    sealed: bool


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for: see `AsyncSessionStore.compact`."""

    retention: object
    dry_run: bool = False
    shorten: bool = False
    give_up: Collection[str] = ()
    accept_break: object = 0


async def compact(engine: Engine, asked: Asked, progress: Progress | None) -> Compacted:
    """Remove the events that are older than the retention. Raises `InvalidSession`,
    `ClockJumped`, `CorruptLog` for a break of the chain, and `MaintenanceRunning`."""
    retention = parse_retention(asked.retention)
    accepted = as_number(asked.accept_break)
    if accepted is None or accepted < 0:
        raise InvalidSession("accept_break", "must be the id of an event")
    log = _compactable(engine)
    await _check_recorded(engine, log, retention, shorten=asked.shorten)
    cursors = await _cursors(engine, log, asked)
    if not asked.dry_run:
        while await sweep(engine, None, BATCH) == BATCH:
            engine.check_open()
    slowest = min(cursors, key=lambda name: cursors[name], default=None)
    last = None if slowest is None else cursors[slowest]
    choice = await _choose(engine, retention, last, accepted)
    removal = choice.removal
    told = Compacted(
        cut=removal.head.id,
        events=removal.events,
        bytes=removal.bytes,
        sessions=0,
        held_back_by=slowest if choice.is_held_back else None,
        sealed=False,
    )
    if asked.dry_run:
        return msgspec.structs.replace(told, sessions=await _count(engine, removal))
    if not removal.events:
        return told
    at_ms = microseconds(engine.clock()) // 1000
    compaction = Compaction(removal, retention // _MILLISECOND, remains, at_ms)
    reduced = await engine.log.call(log.compact, engine.topic, compaction, progress)
    return msgspec.structs.replace(told, sessions=reduced, sealed=True)


def remains(row: Row, active: Sequence[Row]) -> Draft | None:
    """What remains of a row that is not live."""
    sessions = [one for row in active if (one := intact_session_of(row)) is not None]
    tombstone = remains_of(state_of(row), sessions)
    return None if tombstone is None else draft_of(tombstone)


def _compactable(engine: Engine) -> CompactableLog:
    log = engine.log.log.compactable()
    if log is None:
        raise LogUnavailable("the log of this ledger can't be compacted yet")
    return log


async def _check_recorded(
    engine: Engine, log: CompactableLog, retention: timedelta, *, shorten: bool
) -> None:
    """Raises `InvalidSession` for a retention that is shorter than the recorded one."""
    cut = await engine.log.call(log.cut, engine.topic)
    if not cut.id or shorten:
        return
    (sealed,) = await engine.log.read(engine.topic, cut.seal - 1, 1)
    recorded = read_seal(sealed).retention_ms * _MILLISECOND
    if retention < recorded:
        raise InvalidSession(
            "retention",
            f"is shorter than the recorded {recorded}, got {retention}: pass shorten=True, or "
            "--shorten, if you mean it",
        )


async def _cursors(engine: Engine, log: CompactableLog, asked: Asked) -> dict[str, int]:
    """The cursors that count; those that are given up are removed. Raises `InvalidSession`."""
    cursors = await engine.log.call(log.cursors, engine.topic)
    for name in asked.give_up:
        if name not in cursors:
            known = ", ".join(sorted(cursors)) or "none"
            raise InvalidSession("give_up", f"names no consumer of this topic; there are: {known}")
        del cursors[name]
        if not asked.dry_run:
            await engine.log.call(log.forget_cursor, engine.topic, name)
    return cursors


async def _choose(engine: Engine, retention: timedelta, last: int | None, accepted: int) -> Choice:
    """Which events to remove. They are walked, which verifies their chain."""
    now = engine.clock()
    young, future = now - retention, now + CLOCK_TOLERANCE
    limits = Limits(
        microseconds(young) // 1000,
        microseconds(future) // 1000,
        await engine.log.latest(engine.topic) if last is None else last,
        accepted,
    )
    after = (await engine.cut()).head
    choice = Choice(engine.topic, after, engine.fold, limits)
    id = after.id
    while (events := await engine.events(id, EVENT_PAGE)) and choice.see(events):
        id = events[-1].id
    return choice


async def _count(engine: Engine, removal: Removal) -> int:
    """How many sessions would become tombstones."""
    count = 0
    async for row in engine.rows(RowFilter()):
        if not row.live and row.version <= removal.head.id:
            where = RowFilter(group=row.group, live_at=OVER)
            grouped = row.group is not None
            active = await engine.log.rows(engine.topic, where) if grouped else []
            count += remains(row, active) is not None
    return count
