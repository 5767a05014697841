"""Taking a topic from one log to another as it is: ids, hashes and base, and no rows.

Rows are derived, so the log that receives the events folds them. A log receives all topics at once
or none. So a process that is killed leaves a ledger that holds nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from sessionledger.errors import HistoryCut
from sessionledger.logs.base import Log, Row, StoredEvent
from sessionledger.logs.compaction.contract import WHOLE, Cut

PAGE = 1000


class Transfer(msgspec.Struct, frozen=True):
    """What a topic consists of. base: its pages, in the order of keys. events: the pages behind the
    cut, in order. Both can be walked more than once. cursors: those of its consumers."""

    cut: Cut
    cursors: Mapping[str, int]
    base: Callable[[], Iterable[Sequence[Row]]]
    events: Callable[[], Iterable[Sequence[StoredEvent]]]


Transfers: TypeAlias = Mapping[str, Transfer]
"""What each topic consists of."""


def transfer_of(log: Log, topic: str) -> Transfer:
    """A topic as it is now. Walking it raises `HistoryCut` if it is compacted meanwhile."""
    compactable = log.compactable()
    cut = WHOLE if compactable is None else compactable.cut(topic)

    def base() -> Iterable[Sequence[Row]]:
        after = b""
        while compactable is not None and (rows := compactable.base(topic, after, PAGE)):
            yield rows
            after = rows[-1].key
        if compactable is not None and compactable.cut(topic) != cut:
            raise HistoryCut(cut.id)

    def events() -> Iterable[Sequence[StoredEvent]]:
        after = cut.id
        while page := log.read(topic, after, PAGE):
            yield page
            after = page[-1].id

    cursors = {} if compactable is None else compactable.cursors(topic)
    return Transfer(cut, cursors, base, events)
