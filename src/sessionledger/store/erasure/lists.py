"""The lists of erased events of a topic, as far as they vouch for stubs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from sessionledger.core.events import ERASURE
from sessionledger.core.token import Handle
from sessionledger.logs.base import Log, StoredEvent
from sessionledger.logs.chain import STUB_HEADER
from sessionledger.logs.compaction.segments import Archive
from sessionledger.store.engine import EVENT_PAGE, Engine
from sessionledger.store.erasure.stubs import ErasureList, decode_list


class Lists:
    """The stubs of a topic that are listed, by their ids. They are read once a stub is met."""

    def __init__(self, engine: Engine, archive: Archive | None = None) -> None:
        self.stubs: dict[int, set[str]] = {}
        self._engine = engine
        self._archive = archive
        self._is_read = False

    async def meet(self, events: Iterable[StoredEvent]) -> None:
        """Some events that are about to be verified."""
        if not self._is_read and any(STUB_HEADER in event.headers for event in events):
            self._is_read = True
            if self._archive is not None:
                await self._engine.log.call(self._see_archive, self._archive)
            async for page in self._engine.pages((await self._engine.cut()).id):
                see_lists(page, self.stubs)

    def _see_archive(self, archive: Archive) -> None:
        for page in archive.pages(0):
            see_lists(page, self.stubs)


def erased_handles(log: Log) -> list[Handle]:
    """The handles in all lists of a ledger that no compaction removed, each once."""
    ledger, found = log.compactable(), dict[Handle, None]()
    for topic in log.topics():
        after = ledger.cut(topic).id if ledger else 0
        while page := log.read(topic, after, EVENT_PAGE):
            found.update((handle, None) for one in lists_in(page) for handle in one.handles)
            after = page[-1].id
    return list(found)


def see_lists(events: Iterable[StoredEvent], stubs: dict[int, set[str]]) -> None:
    """Add what lists among some events say."""
    for one in lists_in(events):
        for replaced in one.events:
            stubs.setdefault(replaced.id, set()).add(replaced.stub)


def lists_in(events: Iterable[StoredEvent]) -> Iterator[ErasureList]:
    """What the lists among some events say. A damaged one vouches for nothing."""
    for event in events:
        if event.kind == ERASURE:
            try:
                yield decode_list(event.payload)
            except msgspec.DecodeError:
                continue
