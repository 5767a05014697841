"""Lines that are not what was written, found when they are read for the first time.

1. An event is intact if its hash is that of its content, or if it comes from another program and
   has none. Any other one is damaged, and so is what is no event, or stands behind a later one. It
   is folded as one that can't be read: that ends the key which can be seen in it.
2. The next intact event tells by its hash and its id how many events are missing before it. None is
   missing if it follows the last intact one: then what stands between was added later.
3. If the damaged ones do not show the keys of all that are missing, nobody knows whom those
   concerned. One may have been the end of any key. So every row is in doubt that has no event
   behind them.

Nothing is repaired. `verify` and `doctor` name the events.
"""

from __future__ import annotations

from collections.abc import Sequence

from sessionledger.logs import chain
from sessionledger.logs.base import Fold, StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.file import lines


class Damage:
    """What is known of the damaged lines of one file."""

    def __init__(self, topic: str, after: Head) -> None:
        self._topic = topic
        # The last intact event, with the id that its line has; its id in the log may be another.
        self._intact = after
        self._intact_id = after.id
        # The damaged events behind it, and the last event of all, which may be a copy.
        self._pending: list[Head] = []
        self._last = after
        # The id in the line of each damaged event, 0 if it is not one of those that are missing.
        self._damaged: dict[int, int] = {}
        self._missing: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._damaged or self._missing)

    def see(self, text: bytes, event: StoredEvent) -> None:
        """The next event of the file, and its line."""
        found = event if chain.HASH_HEADER in event.headers else lines.whole_event(text)
        self._last = chain.head_after(event)
        if found is None or not self._is_intact(found):
            visible = lines.visible_id(text)
            self._damaged[event.id] = visible if visible > self._intact.id else 0
            self._pending.append(self._last)
            return
        is_foreign = chain.HASH_HEADER not in found.headers
        if not is_foreign and found.id <= self._intact.id:
            # A copy, or one that was moved. It tells nothing of what happened since.
            self._damaged[event.id] = 0
            return
        missing = len(self._pending) if is_foreign else self._missing_before(found, event.id)
        for damaged in self._pending:
            if self._damaged[damaged.id] >= found.id and not is_foreign:
                self._damaged[damaged.id] = 0
        if missing or self._pending:
            self._missing[event.id] = missing
            self._pending.clear()
        if is_foreign:
            self._intact = Head(event.id, None)
        else:
            self._intact = chain.head_after(found)
        self._intact_id = event.id

    def belongs_to_last(self, text: bytes) -> bool:
        """Whether a line is the rest of the damaged one before it, which a line end tore apart."""
        if not self._pending or text.startswith(b'{"id":'):
            return False
        return not lines.whole_events(text)

    def end(self) -> None:
        """Nothing follows for now."""
        if self._last.id > self._intact_id:
            self._missing[self._last.id] = self._last.id - self._intact_id
            self.follow(self._last)

    def follow(self, head: Head) -> None:
        """Whatever comes now was written by a process that took this for the newest event."""
        self._intact, self._intact_id = head, head.id
        self._pending.clear()

    def fold(self, table: RowTable, fold: Fold, events: Sequence[StoredEvent]) -> None:
        """Fold events of the file that were seen."""
        if not self:
            table.fold(fold, events)
            return
        start = 0
        for number, event in enumerate(events):
            if event.id in self._damaged:
                table.fold(fold, events[start:number])
                self._fold_damaged(table, fold, event)
                start = number + 1
            missing = self._missing.get(event.id)
            if missing is not None:
                if missing > table.shown:
                    table.doubt = event.id
                table.shown = 0
        table.fold(fold, events[start:])

    def _fold_damaged(self, table: RowTable, fold: Fold, event: StoredEvent) -> None:
        # No reader takes that for what it was.
        event = StoredEvent(event.id, event.kind, b"?" + event.payload, {}, 0)
        if event.kind not in fold.marks and fold.key(event) is None:
            # Perhaps it is only the kind that was damaged.
            event = StoredEvent(event.id, "", event.payload, {}, 0)
        key = fold.key(event)
        if event.kind in fold.marks or key in table.rows or fold.begins(event):
            table.shown += self._damaged[event.id] > 0
        table.fold(fold, [event])

    def _is_intact(self, event: StoredEvent) -> bool:
        found = event.headers.get(chain.HASH_HEADER)
        if found is None:
            return chain.unchained(event.headers) == event.headers
        return found == chain.record_hash(self._topic, event) or chain.is_stub(self._topic, event)

    def _missing_before(self, event: StoredEvent, id: int) -> int:
        """How many events are missing between the last intact one and this one."""
        previous = event.headers.get(chain.PREV_HEADER)
        by_ids = event.id - self._intact.id - 1
        if previous is None:
            return min(by_ids, id - self._intact_id - 1)
        return 0 if previous == self._intact.hash else max(1, by_ids)
