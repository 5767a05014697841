"""By log: what who keeps the ledger does with it as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sessionledger.findings import Examining, Finding
from sessionledger.logs.base import Progress, StoredEvent
from sessionledger.store.audit.reports import LedgerHead, Stats, Verification
from sessionledger.store.engine import EVENT_PAGE
from sessionledger.store.facade import Facade


class ByLedger(Facade):
    """The calls about all events and rows of the topic."""

    async def events(self, *, after: int = 0) -> AsyncIterator[StoredEvent]:
        """Every event of the topic with an id above `after`, as it is stored."""
        while page := await self._engine.events(after, EVENT_PAGE):
            for event in page:
                yield event
            after = page[-1].id

    async def head(self) -> LedgerHead:
        """The newest event's id and hash: keep it elsewhere, and `verify` against it."""
        return await self._engine.head()

    async def verify(
        self, *, expect: str | None = None, progress: Progress | None = None
    ) -> Verification:
        """Walk the hash chain, and find the first event that was changed, removed or moved.

        `expect` is an earlier head as text: with it a log that was cut short or rewritten as a
        whole is found too.
        """
        return await self._engine.verify(expect, progress)

    async def rebuild(self, *, progress: Progress | None = None) -> int:
        """Fold all rows anew from the log; how many events that were."""
        return await self._engine.rebuild(progress)

    async def diagnose(self, *, progress: Examining | None = None) -> list[Finding]:
        """What is wrong with the ledger as it stands, the worst first; nothing when it is well.

        Changes nothing. What an opening mends is mended already: `diagnose(url)` looks at a ledger
        that is not open.
        """
        return await self._engine.diagnose(progress)

    async def stats(self) -> Stats:
        """How much there is, and on what."""
        return await self._engine.stats()
