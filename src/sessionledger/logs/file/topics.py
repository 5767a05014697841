"""The images of all topics, brought up to date when they are looked at. Guarded by the log's lock.

A signal may raise anywhere. So whoever changes an image takes it out first and puts it back when it
is whole again: interrupted in between, nobody has half of one, and the file is read anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from sessionledger.errors import CorruptLog
from sessionledger.logs import units
from sessionledger.logs.base import Fold
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.index import Image, Stamp
from sessionledger.logs.file.refresh import Look, look
from sessionledger.logs.units import Plan


class Images:
    """What is known of the topics of a ledger, and the folds of their rows.

    only_reads: nothing is ever adopted, and complete lines count where nothing was published.
    """

    def __init__(self, disk: Disk, *, only_reads: bool) -> None:
        self.folds: dict[str, Fold] = {}
        self.known: dict[str, Image] = {}
        self._disk = disk
        self._only_reads = only_reads
        self._keeps_rows: set[str] = set()

    def look(self, topic: str) -> Look:
        """Take in what is durable of a topic's file by now."""
        image = self.known.get(topic)
        if image is not None and image.is_unchanged():
            return Look(image, is_more=False, is_beyond_claim=False, is_published=True)
        image = self.known.pop(topic, None) or Image(self._disk.topic(topic))
        fold = self.folds.get(topic) if topic in self._keeps_rows else None
        try:
            seen = look(self._disk, topic, image, fold, only_reads=self._only_reads)
        except (CorruptLog, OSError):
            # What was known stays known: a file that lost something is refused next time too.
            self.known[topic] = image
            raise
        self.known[topic] = seen.image
        return seen

    def adopt(self, topic: str) -> Look:
        """Make all that the topic's file holds durable, and look. The turn is the caller's."""
        seen = self.look(topic)
        if seen.is_more or not seen.is_published:
            self._disk.adopt(topic, seen.image.end, seen.image.origin.head.id)
            seen = self.look(topic)
        return seen

    def keep_rows(self, topic: str) -> None:
        """Fold what is read from now on; said before it is read, reading it once is enough."""
        self._keeps_rows.add(topic)

    def fold_of(self, topic: str) -> Fold:
        """The fold of a topic. Raises `InvalidEvent` where there is none."""
        return units.fold_of(self.folds, topic)

    def rows(self, topic: str, image: Image) -> RowTable:
        """The rows of an image that was just looked at, all folded. Raises `InvalidEvent`."""
        if image.folded < len(image):
            fold = self.fold_of(topic)
            self.known.pop(topic, None)
            image.fold_rest(fold)
            self.known[topic] = image
        return image.table

    def take(
        self, topic: str, image: Image, start: int, plan: Plan, texts: Sequence[bytes], stamp: Stamp
    ) -> None:
        """Take in what was just written to the file of an image that ended at `start`."""
        known = self.known.pop(topic, None)
        if known is image and image.end == start:
            image.take(plan, texts, stamp, with_rows=topic in self.folds)
        # Else a reader saw that it was published, and has taken it in already.
        if known is not None:
            self.known[topic] = known
