"""How much there is in a topic, counted without a look at every event."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from sessionledger.core.instant import from_milliseconds, microseconds
from sessionledger.core.token import ERASURES_KEY, FORGOTTEN_KEY
from sessionledger.errors import HistoryCut
from sessionledger.logs.base import RowFilter, StoredEvent
from sessionledger.logs.compaction.contract import Cut
from sessionledger.store.audit.reports import ERASURES, LAST_RUNS, Stats, last_run
from sessionledger.store.session_fold import NOBODY

if TYPE_CHECKING:
    from sessionledger.store.engine import Engine

RESTORED_FROM = 1_000_000_000
"""Ids below it are consecutive. A restore goes on above it, with the time in microseconds as the
next id. Such a gap is longer than the events before it in a row."""


async def statistics(engine: Engine) -> Stats:
    """The statistics of the engine's topic."""
    while True:
        with suppress(HistoryCut):  # another compaction came in between
            return await _statistics(engine, await engine.cut())


async def _statistics(engine: Engine, cut: Cut) -> Stats:
    log, topic = engine.log, engine.topic
    latest = await log.latest(topic)
    sealed = await engine.events(cut.seal - 1, 1) if cut.id else []
    cursors = await engine.cursors(topic)
    over = await log.count(topic, RowFilter(owner=NOBODY))
    # These two are of no session.
    others = await log.row(topic, FORGOTTEN_KEY)
    erasure = await log.row(topic, ERASURES_KEY)
    erased = 0 if erasure is None else erasure.version
    now = microseconds(engine.clock())
    return Stats(
        topic=topic,
        events=await _count(engine, cut.id, latest),
        sessions=await log.count(topic) - over,
        live=await log.count(topic, RowFilter(live_at=now, replaced=False)),
        tombstones=over - (others is not None) - (erasure is not None),
        oldest_at=_happened_at(await engine.events(cut.id, 1)),
        consumers={
            name: await _count(engine, max(cursor, cut.id), latest)
            for name, cursor in cursors.items()
        },
        cut=cut.id,
        compacted_at=_happened_at(sealed),
        maintained=last_run(await engine.cursors(LAST_RUNS)),
        erased=erased,
        erasure_pending=(await engine.cursors(ERASURES)).get(topic, 0) < erased,
        log=await log.describe(),
    )


async def _count(engine: Engine, after: int, latest: int) -> int:
    """How many events there are after one id. Ids are consecutive, but for what a restore lost."""
    if latest < RESTORED_FROM:
        return max(0, latest - after)
    count = 0
    while after < latest:
        (first, *_) = await engine.log.read(engine.topic, after, 1)
        after, before = await _last_in_a_row(engine, first.id, latest), first.id - 1
        count += after - before
    return count


async def _last_in_a_row(engine: Engine, id: int, latest: int) -> int:
    """The last event from one on that no id is missing before."""

    async def is_there(id: int) -> bool:
        found = await engine.log.read(engine.topic, id - 1, 1) if id <= latest else []
        return bool(found) and found[0].id == id

    step = 1
    while await is_there(id + step):
        id, step = id + step, 2 * step
    while step > 1:
        step //= 2
        if await is_there(id + step):
            id += step
    return id


def _happened_at(events: Sequence[StoredEvent]) -> datetime | None:
    """When the first of the events happened, if there is one."""
    return from_milliseconds(events[0].occurred_at_ms) if events else None
