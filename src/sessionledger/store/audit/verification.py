"""Walking the chain: from the first event, or from the base that a compaction left."""

from __future__ import annotations

import msgspec

from sessionledger.errors import CorruptLog, HistoryCut
from sessionledger.logs import chain
from sessionledger.logs.base import Progress, StoredEvent
from sessionledger.logs.chain import Break, Head
from sessionledger.logs.compaction.contract import WHOLE, Cut
from sessionledger.logs.compaction.seal import BaseHash, problem_of
from sessionledger.logs.compaction.segments import Archive
from sessionledger.store.audit.archive import archived, open_archive
from sessionledger.store.audit.reports import LedgerHead, Verification, missing_head, parse_head
from sessionledger.store.engine import EVENT_PAGE, Engine, Folder
from sessionledger.store.erasure.lists import Lists


class _Walked(msgspec.Struct):
    """How far the chain was walked: its head there, how many events hold, the expected event."""

    head: Head
    held: int = 0
    found: Head | None = None
    broken: Break | None = None
    erased: list[int] = []


async def verify(
    engine: Engine, expect: str | None, folder: Folder | None, progress: Progress | None
) -> Verification:
    """Whether the chain holds, and the base. A compaction meanwhile has it begin again.

    Raises `HistoryCut` for an expected head that was removed: nothing can be told of it.
    """
    expected = Head(0, None) if expect is None else parse_head(expect, engine.topic)
    while True:
        # Where all events were removed there is nothing to walk, and still a head.
        latest = Head(await engine.log.latest(engine.topic), None)
        cut = await engine.cut()
        try:
            archive = await open_archive(engine, cut, folder)
        except CorruptLog as error:
            nothing = LedgerHead(engine.topic, 0, None)
            return Verification(nothing, 0, Break(1, str(error)), cut.id)
        if 0 < expected.id < archive.start.id:
            raise HistoryCut(archive.start.id)
        try:
            walked = await _walk(engine, archive, expected, progress)
            broken = walked.broken or await _check_base(engine, cut)
        except HistoryCut:
            continue
        if await engine.cut() == cut:
            break
    if not walked.held and broken is None:
        walked.head, walked.found = latest, latest if latest == expected else None
    broken = broken or missing_head(expected, walked.found)
    head = LedgerHead(engine.topic, walked.head.id, walked.head.hash)
    return Verification(head, walked.held, broken, archive.start.id, tuple(walked.erased))


async def _walk(
    engine: Engine, archive: Archive, expected: Head, progress: Progress | None
) -> _Walked:
    start = archive.start
    walked = _Walked(start, found=start if expected == start else None)
    lists = Lists(engine, archive)

    async def see(events: list[StoredEvent]) -> None:
        await lists.meet(events)
        walked.found = _at(expected.id, events) or walked.found
        verdict = chain.verify(engine.topic, events, walked.head, lists.stubs)
        if isinstance(verdict, Break):
            where = archive.segment_of(verdict.id)
            problem = f"{verdict.problem}, in {where}" if where else verdict.problem
            walked.broken = Break(verdict.id, problem)
            walked.held += sum(event.id < verdict.id for event in events)
        else:
            walked.head, walked.held = verdict, walked.held + len(events)
            walked.erased += [event.id for event in events if chain.STUB_HEADER in event.headers]
        if progress is not None:
            progress(walked.held)

    try:
        async for events in archived(engine, archive, 0):
            await see(events)
            if walked.broken is not None:
                return walked
    except CorruptLog as error:
        walked.broken = Break(walked.head.id + 1, str(error))
    while walked.broken is None and (events := await engine.events(walked.head.id, EVENT_PAGE)):
        await see(events)
    return walked


async def _check_base(engine: Engine, cut: Cut) -> Break | None:
    """How the base differs from what its seal says, if it does."""
    log = engine.log.log.compactable()
    if cut == WHOLE or log is None:
        return None
    base, after = BaseHash(), b""
    while rows := await engine.log.call(log.base, engine.topic, after, EVENT_PAGE):
        base.see(rows)
        after = rows[-1].key
    sealed = await engine.events(cut.seal - 1, 1)
    return problem_of(cut, sealed[0] if sealed else None, base)


def _at(id: int, events: list[StoredEvent]) -> Head | None:
    return next((chain.head_after(event) for event in events if event.id == id), None)
