"""Which events may be removed, decided while they are walked. Pure.

1. Only events before the first one that is younger than the retention. An event from the future is
   of a wrong clock, and does not count as young.
2. All events of a unit, or none.
3. No mark without the event that lifts it: what it ended has an end of its own by then.
4. Nothing that a consumer has yet to read.
5. Nothing behind a break of the chain, unless the caller accepts it: it may be evidence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from sessionledger.errors import CorruptLog
from sessionledger.logs import chain
from sessionledger.logs.base import Fold, StoredEvent
from sessionledger.logs.chain import Break, Head
from sessionledger.logs.compaction.contract import Removal
from sessionledger.logs.units import UNIT_HEADER


class Limits(msgspec.Struct, frozen=True):
    """Up to where events may be removed.

    young_ms: an event that happened later is young. future_ms: one that happened later still is
    from the future. last: the smallest cursor. accepted: breaks of the chain are accepted up to
    this event.
    """

    young_ms: int
    future_ms: int
    last: int
    accepted: int = 0


class Choice:
    """Sees events in order, and knows which of them may be removed.

    stubs: the hashes of the stubs that events may be replaced by. is_held_back: whether a cursor
    keeps more of them.
    """

    def __init__(self, topic: str, start: Head, fold: Fold, limits: Limits) -> None:
        self.removal = Removal(start, 0, 0, 0)
        self.is_held_back = False
        self.stubs: Mapping[int, Collection[str]] = {}
        self._topic = topic
        self._fold = fold
        self._limits = limits
        self._seen = self.removal
        self._mark = 0

    def see(self, events: Iterable[StoredEvent]) -> bool:
        """Some more events; whether to go on. Raises `CorruptLog` for a break."""
        return all(self._see(event) for event in events)

    def _see(self, event: StoredEvent) -> bool:
        limits, seen = self._limits, self._seen
        if limits.young_ms < event.occurred_at_ms <= limits.future_ms:
            return False
        if event.id > limits.last:
            self.is_held_back = True
            return False
        self._check_chain(event)
        if event.kind in self._fold.marks:
            self._mark = self._fold.mark(event, self._mark)
        size = len(event.payload) + len(chain.encode_headers(event.headers))
        newest = max(seen.newest_ms, min(event.occurred_at_ms, limits.young_ms))
        head = chain.head_after(event)
        self._seen = Removal(head, seen.events + 1, seen.bytes + size, newest)
        number, _, of = event.headers.get(UNIT_HEADER, "1/1").partition("/")
        if number == of and not self._mark:
            self.removal = self._seen
        return True

    def _check_chain(self, event: StoredEvent) -> None:
        verdict = chain.verify(self._topic, (event,), self._seen.head, self.stubs)
        if isinstance(verdict, Break) and event.id > self._limits.accepted:
            raise CorruptLog(
                f"the chain breaks at event {event.id}: {verdict.problem}. It would be removed. "
                "Keep a copy of the ledger, find out why, and accept the break by its id"
            )
