"""Taking a topic from one log to another as it is: ids, hashes and base, and no rows.

Rows are derived, so the log that has the copy folds them. The events of a copy say how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from sessionledger.errors import HistoryCut
from sessionledger.logs.base import Log, Progress, Row, StoredEvent
from sessionledger.logs.compaction.contract import WHOLE, Cut

if TYPE_CHECKING:
    from sessionledger.logs.compaction.copyable import CopyableLog

PAGE = 1000


class Transfer(msgspec.Struct, frozen=True):
    """What a topic consists of. base: its pages, in the order of keys. events: the pages behind the
    cut and behind an id, in order. cursors: those of its consumers."""

    cut: Cut
    cursors: Mapping[str, int]
    base: Callable[[], Iterable[Sequence[Row]]]
    events: Callable[[int], Iterable[Sequence[StoredEvent]]]


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

    def events(after: int) -> Iterable[Sequence[StoredEvent]]:
        after = max(after, cut.id)
        while page := log.read(topic, after, PAGE):
            yield page
            after = page[-1].id

    cursors = {} if compactable is None else compactable.cursors(topic)
    return Transfer(cut, cursors, base, events)


def take(source: Log, copied: CopyableLog, topic: str, tell: Progress) -> Transfer:
    """Copy what a topic has beyond its copy, and its base; what it consists of.

    tell: told of each page how many events it has. Raises `HistoryCut` if the topic is compacted
    meanwhile. The next call goes on.
    """
    transfer = transfer_of(source, topic)
    for page in transfer.events(copied.latest(topic)):
        copied.extend(topic, page)
        tell(len(page))
    if transfer.cut != copied.cut(topic):
        copied.rebase(topic, transfer)
    return transfer
