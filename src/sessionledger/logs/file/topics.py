"""The indexes of all topics, refreshed when they are asked for. The log's lock guards them.

A signal may raise anywhere. So an index is taken out before it is changed, and put back when it is
complete. If that is interrupted, nobody has half an index, and the file is read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sessionledger.errors import CorruptLog
from sessionledger.logs import units
from sessionledger.logs.base import Fold
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.examination import InMemory
from sessionledger.logs.file.index import Stamp, TopicIndex
from sessionledger.logs.file.refresh import Refreshed, refresh
from sessionledger.logs.units import Plan


class Topics:
    """The index of each topic of a ledger, and the folds of their rows.

    only_reads: nothing is ever adopted, and complete lines count where nothing was published.
    """

    def __init__(self, disk: Disk, *, only_reads: bool) -> None:
        self.folds: dict[str, Fold] = {}
        self.known: dict[str, TopicIndex] = {}
        self._disk = disk
        self._only_reads = only_reads
        self._keeps_rows: set[str] = set()

    def refresh(self, topic: str) -> Refreshed:
        """Take in what is durable of a topic's file by now."""
        index = self.known.get(topic)
        if index is not None and index.is_unchanged():
            return Refreshed(index, is_more=False, is_beyond_claim=False, is_published=True)
        index = self.known.pop(topic, None) or TopicIndex(topic, self._disk.topic(topic))
        fold = self.folds.get(topic) if topic in self._keeps_rows else None
        try:
            seen = refresh(self._disk, topic, index, fold, only_reads=self._only_reads)
        except (CorruptLog, OSError):
            # The index stays as it was: a file that lost something is refused next time too.
            self.known[topic] = index
            raise
        self.known[topic] = seen.index
        return seen

    def adopt(self, topic: str) -> Refreshed:
        """Make the file of the topic durable, and refresh. The caller has the writer's lock."""
        seen = self.refresh(topic)
        if seen.is_more or (seen.index.end and not seen.is_published):
            self._disk.adopt(topic, seen.index, is_published=seen.is_published)
            seen = self.refresh(topic)
            self._disk.publish_newest(topic, seen.index.head.id)
        return seen

    def keep_rows(self, topic: str) -> None:
        """Fold what is read from now on. Called before the file is read, it saves a second read."""
        self._keeps_rows.add(topic)

    def fold_of(self, topic: str) -> Fold:
        """The fold of a topic. Raises `InvalidEvent` where there is none."""
        return units.fold_of(self.folds, topic)

    def rows(self, topic: str, index: TopicIndex) -> RowTable:
        """The rows of an index that was just refreshed, all folded. Raises `InvalidEvent`."""
        if index.folded < len(index):
            fold = self.fold_of(topic)
            self.known.pop(topic, None)
            index.fold_rest(fold)
            self.known[topic] = index
        return index.table

    def in_memory(self, topic: str) -> InMemory:
        """The rows of a topic as they are in memory."""
        index = self.known.get(topic) or TopicIndex(topic, self._disk.topic(topic))
        # Behind damage, its rows are not those that its events would fold to.
        folded = None if index.damage or not index.folded else index.folded_id
        return InMemory(list(index.table.rows.values()), folded, index.cut)

    def take(
        self,
        topic: str,
        index: TopicIndex,
        start: int,
        plan: Plan,
        texts: Sequence[bytes],
        stamp: Stamp,
    ) -> None:
        """Take in a batch that was just written to a file whose index ended at `start`."""
        known = self.known.pop(topic, None)
        if known is index and index.end == start:
            index.take(plan, texts, stamp, with_rows=topic in self.folds)
        # Otherwise a reader saw that it was published, and has taken it in already.
        if known is not None:
            self.known[topic] = known
