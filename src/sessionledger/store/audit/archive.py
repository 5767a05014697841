"""Reading a ledger together with its archive, from the very first event on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from sessionledger.core.events import FOR_ALL, MARKS
from sessionledger.errors import HistoryCut, InvalidSession
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.arguments import check_id
from sessionledger.logs.base import StoredEvent
from sessionledger.logs.compaction.contract import Cut
from sessionledger.logs.compaction.segments import Archive
from sessionledger.store.engine import Engine, Folder

if TYPE_CHECKING:  # which imports this
    from sessionledger.store.history.sources import HistoryRange


async def open_archive(engine: Engine, cut: Cut, folder: Folder | None) -> Archive:
    """The archive of what was removed up to a cut; an empty one without a folder.

    Raises `InvalidSession` if that was not archived, and `CorruptLog`.
    """
    is_asked = folder is not None and cut.id
    last = (await engine.seal(cut)).archive if is_asked else None
    if is_asked and last is None:
        problem = f"does not have the events up to {cut.id}: the last compaction did not archive"
        raise InvalidSession("archive", problem)
    return await engine.log.call(Archive, Path(folder or ""), engine.topic, cut, last)


async def archived(
    engine: Engine, archive: Archive, after: int
) -> AsyncIterator[list[StoredEvent]]:
    """The events of an archive with an id above `after`. An event loop does not wait for a file."""
    pages, nothing = archive.pages(after), list[StoredEvent]()
    while page := await engine.log.call(next, pages, nothing):
        yield page


async def pages(engine: Engine, after: int, folder: Folder) -> AsyncIterator[list[StoredEvent]]:
    """The events with an id above `after`, those of an archive first.

    Raises `HistoryCut` for events from before the archive was begun, and `CorruptLog`.
    """
    after = check_id(after)
    while True:
        archive = await open_archive(engine, await engine.cut(), folder)
        if after < archive.start.id:
            raise HistoryCut(archive.start.id)
        async for page in archived(engine, archive, after):
            yield page
            after = page[-1].id
        try:
            async for page in engine.pages(after):
                yield page
                after = page[-1].id
        except HistoryCut:
            continue  # they were removed meanwhile
        return


async def with_archive(engine: Engine, part: HistoryRange, folder: Folder) -> Engine:
    """An engine over a log in memory with all events of a key or an owner, and rows of those alone.

    Of an archive that was begun later, sessions from before then are left out.
    """
    from sessionledger.logs.memory.log import MemoryLog  # few histories are read so

    key, owner = part.key, part.owner
    start = (await open_archive(engine, await engine.cut(), folder)).start
    keys = set() if key is None else {key}
    found: list[StoredEvent] = []
    async for page in pages(engine, start.id, folder):
        found += [event for event in page if _concerns(engine, event, keys, owner)]
    first = next((event for event in found if engine.fold.key(event) == key), None)
    if key is not None and start.id and (first is None or not _owner(engine, first)):
        raise HistoryCut(start.id)

    log = MemoryLog.holding(engine.topic, found, Cut(start))
    return Engine(ImmediateLog(log), engine.topic, engine.policy, engine.clock)


def _concerns(engine: Engine, event: StoredEvent, keys: set[bytes], owner: str | None) -> bool:
    """Whether an event concerns one of the keys, or all. The keys of an owner are added."""
    key = engine.fold.key(event)
    if key is not None and owner is not None and _owner(engine, event) == owner:
        keys.add(key)
    return key in keys or event.kind in FOR_ALL | MARKS


def _owner(engine: Engine, event: StoredEvent) -> str:
    """Whose session an event begins; empty if it begins none."""
    draft = engine.fold.evolve(None, event)
    return draft.owner if draft else ""
