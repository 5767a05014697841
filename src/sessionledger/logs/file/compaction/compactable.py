"""What a log of files answers about its bases, and what takes the lease."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from sessionledger.logs.arguments import check_limit, check_name, check_names
from sessionledger.logs.base import Progress, Row, StoredEvent
from sessionledger.logs.compaction.contract import (
    CompactableLog,
    Compaction,
    Cut,
    Leased,
    Reduction,
    Rewriting,
    refuse_behind,
)
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.file import consumers
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.errors import refuse_moved, translated_errors
from sessionledger.logs.file.index import TopicIndex
from sessionledger.logs.file.lines import line_of
from sessionledger.logs.file.topics import Topics

if TYPE_CHECKING:  # few logs are copied
    from sessionledger.logs.compaction.transfer import Transfer

T = TypeVar("T")


class CompactableFiles(Leased):
    """As in `CompactableLog`, and `rebuild`, by what a log is asked about a topic."""

    _disk: Disk
    _topics: Topics

    @abstractmethod
    def _ask(self, topic: str, question: Callable[[TopicIndex], T]) -> T:
        """Ask about a topic, with everything that was acknowledged before the call."""

    @abstractmethod
    def _ask_rows(self, topic: str, question: Callable[[RowTable], T]) -> T:
        """Ask about the rows of a topic, likewise."""

    @abstractmethod
    def _alone(self, topic: str, work: Callable[[TopicIndex, RowTable], T]) -> T:
        """Do something while nobody writes, with the newest index and rows of a topic."""

    @abstractmethod
    def _adopt(self, topic: str) -> TopicIndex:
        """The index of a topic, with all that its file holds. The caller has the writer's lock."""

    @abstractmethod
    def _change(self, work: Callable[[], T]) -> T:
        """Do something while nobody writes."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raises `StoreClosed`."""

    def compactable(self) -> CompactableLog:
        return self

    def cut(self, topic: str) -> Cut:
        return self._ask(topic, lambda index: index.cut)

    def base_row(self, topic: str, key: bytes) -> Row | None:
        return self._ask(topic, lambda index: index.checkpoint.row(key))

    def base(self, topic: str, after: bytes, limit: int) -> list[Row]:
        check_limit(limit)
        return self._ask(topic, lambda index: index.checkpoint.rows(after, limit))

    def cursors(self, topic: str) -> dict[str, int]:
        self._check_open()
        refuse_moved(self._disk.root)
        with translated_errors(self._disk.root):
            return consumers.cursors(self._disk, check_name("topic", topic))

    def forget_cursor(self, topic: str, consumer: str) -> None:
        check_names(topic, consumer)
        self._change(lambda: consumers.forget(self._disk, topic, consumer))

    def rewrite(self, topic: str, rewriting: Rewriting, progress: Progress | None = None) -> None:
        """As in `ErasableLog`."""
        from sessionledger.logs.file.compaction.rewriter import rewrite  # few processes ever do

        self._alone(topic, lambda index, _: rewrite(self._disk, topic, index, rewriting))
        if progress is not None:
            progress(len(rewriting.events))

    def purge(self) -> tuple[str, ...]:
        """As in `ErasableLog`."""
        return ()  # the files that were replaced are gone

    def extend(self, topic: str, events: Sequence[StoredEvent]) -> None:
        """As in `CopyableLog`."""
        check_name("topic", topic)

        def extend() -> None:
            index = self._adopt(topic)
            refuse_behind(topic, index.head.id, events)
            self._disk.append(topic, index, b"".join(map(line_of, events)), events[-1].id)

        self._change(extend)

    def rebase(self, topic: str, transfer: Transfer) -> None:
        """As in `CopyableLog`."""
        from sessionledger.logs.file.compaction.rewriter import rebase  # few ever do

        def replace() -> None:
            rebase(self._disk, topic, self._adopt(topic), transfer)
            # It may take the events before the first one for missing.
            self._topics.known.pop(topic)

        self._change(replace)

    def hand_over(self, to: str, work: Callable[[], None]) -> None:
        """As in `CopyableLog`."""

        def hand_over() -> None:
            for topic in self._disk.topics():
                self._adopt(topic)
            work()
            self._disk.leave(to)

        with self.lease():
            self._change(hand_over)

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        fold = self._topics.fold_of(check_name("topic", topic))
        self._disk.check_healthy()
        with self.lease(), translated_errors(self._disk.root):
            index = self._ask(topic, lambda index: index)
            table, done = index.rebuilt(fold, progress)  # most of the work, without a lock

            def put(now: TopicIndex) -> int:
                if now is index:
                    now.put_rows(fold, table, done)
                return len(now)

            return self._ask(topic, put)

    def compact(
        self, topic: str, compaction: Compaction, progress: Progress | None = None
    ) -> Reduction:
        from sessionledger.logs.file.compaction.compactor import Compactor  # few processes ever do

        fold = self._topics.fold_of(check_name("topic", topic))
        with self.lease(), translated_errors(self._disk.root):
            compactor = Compactor(
                topic,
                fold,
                compaction,
                self._disk,
                lambda: self._ask(topic, lambda index: index),
                lambda question: self._ask_rows(topic, question),
                lambda work: self._alone(topic, work),
            )
            return compactor.run(progress)
