"""By log: what who keeps the ledger does with it as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from sessionledger.logs.base import StoredEvent
from sessionledger.store.aio import by_ledger as aio
from sessionledger.store.engine import EVENT_PAGE
from sessionledger.store.facade import Facade
from sessionledger.store.sync.drive import drive, in_place


class ByLedger(Facade):
    """The calls about all events and rows of the topic."""

    head = in_place(aio.ByLedger.head)
    verify = in_place(aio.ByLedger.verify)
    rebuild = in_place(aio.ByLedger.rebuild)
    diagnose = in_place(aio.ByLedger.diagnose)
    stats = in_place(aio.ByLedger.stats)

    def events(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Every event of the topic with an id above `after`, as it is stored."""
        while page := drive(self._engine.events(after, EVENT_PAGE)):
            yield from page
            after = page[-1].id
