"""Compaction: removing the events that are older than a retention, while every session stays.

1. What lapsed is swept first, so that it has an end in the log.
2. The events are walked, and their chain is verified, before anything is changed.
3. The log folds them into its base, seals that, and removes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.core.families import remains_of
from sessionledger.core.instant import microseconds
from sessionledger.core.lifetimes import parse_retention
from sessionledger.core.session import Tombstone
from sessionledger.errors import HistoryCut, InvalidSession, LogUnavailable, MaintenanceRunning
from sessionledger.logs.base import OVER, Draft, Progress, Row, RowFilter
from sessionledger.logs.compaction.archive import Archiving, Read, check_cut
from sessionledger.logs.compaction.choice import Choice, Limits
from sessionledger.logs.compaction.contract import (
    FORGOTTEN,
    CompactableLog,
    Compaction,
    Cut,
    Reduction,
    Removal,
    Segment,
    VacuumableLog,
)
from sessionledger.logs.compaction.seal import Seal
from sessionledger.plain import as_number
from sessionledger.store.engine import EVENT_PAGE, Engine, Folder
from sessionledger.store.erasure.lists import Lists
from sessionledger.store.erasure.rewriting import finish
from sessionledger.store.operations.sweep import sweep_all
from sessionledger.store.session_fold import draft_of, intact_session_of, state_of

_MILLISECOND = timedelta(milliseconds=1)


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction removed, or would remove.

    cut: the last event that was removed. events, bytes: how many, and of what size. sessions: how
    many that had ended became tombstones. forgotten: how many more are not known any more.
    held_back_by: the consumer whose cursor keeps more events from being removed, if there is one.
    sealed: False if nothing was changed.
    """

    cut: int
    events: int
    bytes: int
    sessions: int
    forgotten: int
    held_back_by: str | None
    sealed: bool


async def compact(
    engine: Engine,
    retention: object,
    give_up: Collection[str] = (),
    accept_break: object = 0,
    progress: Progress | None = None,
    archive: Folder | None = None,
    *,
    dry_run: bool = False,
    shorten: bool = False,
    give_up_archive: bool = False,
    vacuum: bool = False,
) -> Compacted:
    """Remove the events that are older than the retention. Raises `InvalidSession`,
    `ClockJumped`, `CorruptLog` for a break of the chain, and `MaintenanceRunning`."""
    span, accepted = parse_retention(retention), as_number(accept_break)
    if accepted is None or accepted < 0:
        raise InvalidSession("accept_break", "must be the id of an event")
    log = _compactable(engine, vacuum=vacuum)
    with _without_others():
        before = await engine.cut()
        last = await engine.seal(before) if before.id else None
        if last is not None and not shorten:
            _check_recorded(last, span)
        segment = None if last is None else last.archive
        keep = await _keep(engine, before, segment, archive, give_up=give_up_archive)
        cursors = _without(await engine.log.call(log.cursors, engine.topic), give_up)
        if not dry_run:
            for name in give_up:
                await engine.log.call(log.forget_cursor, engine.topic, name)
            # The lists may be among what is removed.
            await engine.log.call(finish, engine.log.log, engine.topic)
            await sweep_all(engine)
        slowest = min(cursors, key=lambda name: cursors[name], default=None)
        choice = await _choose(engine, span, cursors.get(slowest or ""), accepted, progress)
        removal = choice.removal
        if dry_run:
            reduction = await _count(engine, removal)
        else:
            at_ms = microseconds(engine.clock()) // 1000
            retention_ms = span // _MILLISECOND
            compaction = Compaction(removal, retention_ms, remains, at_ms, partial(keep, removal))
            reduction = await engine.log.call(log.compact, engine.topic, compaction, progress)
            if isinstance(log, VacuumableLog) and vacuum:
                await engine.log.call(log.vacuum)
    return Compacted(
        cut=removal.head.id,
        events=removal.events,
        bytes=removal.bytes,
        sessions=reduction.replaced,
        forgotten=reduction.forgotten,
        held_back_by=slowest if choice.is_held_back else None,
        sealed=removal.events > 0 and not dry_run,
    )


@contextmanager
def _without_others() -> Iterator[None]:
    """Raises `MaintenanceRunning` if another compaction removes what is read here."""
    try:
        yield
    except HistoryCut:
        raise MaintenanceRunning("another compaction was faster: try again") from None


def _compactable(engine: Engine, *, vacuum: bool) -> CompactableLog:
    """The log, which can be compacted. Raises `LogUnavailable`."""
    log = engine.log.log.compactable()
    if log is None:
        raise LogUnavailable("the log of this ledger can't be compacted yet")
    if vacuum and not isinstance(log, VacuumableLog):
        raise LogUnavailable("this log gives space back by itself: leave out vacuum, or --vacuum")
    return log


def remains(row: Row, active: Sequence[Row]) -> Draft | Literal["forgotten"] | None:
    """What remains of a row that is not live."""
    sessions = [one for row in active if (one := intact_session_of(row)) is not None]
    left = remains_of(state_of(row), sessions)
    return draft_of(left) if isinstance(left, Tombstone) else left


def _without(cursors: dict[str, int], given_up: Collection[str]) -> dict[str, int]:
    """The other cursors. Raises `InvalidSession` for a name that none has."""
    for name in given_up:
        if name not in cursors:
            known = ", ".join(sorted(cursors)) or "none"
            raise InvalidSession("give_up", f"names no consumer of this topic; there are: {known}")
    return {name: cursor for name, cursor in cursors.items() if name not in given_up}


def _check_recorded(last: Seal, retention: timedelta) -> None:
    """Raises `InvalidSession` for a retention that is shorter than the recorded one."""
    recorded = last.retention_ms * _MILLISECOND
    if retention < recorded:
        hint = "pass shorten=True, or --shorten, if you mean it"
        problem = f"is shorter than the recorded {recorded}, got {retention}: {hint}"
        raise InvalidSession("retention", problem)


async def _keep(
    engine: Engine, before: Cut, last: Segment | None, archive: Folder | None, *, give_up: bool
) -> Callable[[Removal, Cut, Read], Segment | None]:
    """What keeps a copy of removed events. Raises `InvalidSession` for a folder that can't be."""
    if archive is None:
        if last is not None and not give_up:
            hint = "name it, or pass give_up_archive=True, or --give-up-archive"
            problem = f"is missing: {last.folder} has the events that were removed before; {hint}"
            raise InvalidSession("archive", problem)
        return partial(_keep_nothing, before)
    if give_up:
        raise InvalidSession("archive", "can't be given and given up in one compaction")
    location = (await engine.log.describe()).location
    archiving = Archiving(Path(archive), location, engine.topic, before, last)
    await engine.log.call(archiving.check, partial(engine.log.log.read, engine.topic))
    return archiving.keep


def _keep_nothing(before: Cut, _: Removal, cut: Cut, __: Read) -> None:
    check_cut(before, cut)


async def _choose(
    engine: Engine, retention: timedelta, last: int | None, accepted: int, progress: Progress | None
) -> Choice:
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
    is_over, lists = False, Lists(engine)
    choice.stubs = lists.stubs
    while not is_over and (events := await engine.events(id, EVENT_PAGE)):
        await lists.meet(events)
        engine.check_open()
        is_over = not choice.see(events)
        id = events[-1].id
        if progress is not None:
            progress(choice.removal.events)
    return choice


async def _count(engine: Engine, removal: Removal) -> Reduction:
    """How many sessions would become tombstones, or be forgotten."""
    left = Counter[bool]()
    async for row in engine.rows(RowFilter()):
        if not row.live and row.version <= removal.head.id:
            where = RowFilter(group=row.group, live_at=OVER)
            grouped = row.group is not None
            active = await engine.log.rows(engine.topic, where) if grouped else []
            what = remains(row, active)
            left.update([] if what is None else [what == FORGOTTEN])
    return Reduction(left[False], left[True])
