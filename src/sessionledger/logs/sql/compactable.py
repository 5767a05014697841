"""What a log in a database answers about its base, and how it is compacted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sessionledger.logs import units
from sessionledger.logs.arguments import check_limit, check_name, check_names, check_page
from sessionledger.logs.base import Progress, Row, StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.contract import (
    WHOLE,
    CompactableLog,
    Compaction,
    Cut,
    Leased,
    Reduction,
    Rewriting,
    refuse_below,
)
from sessionledger.logs.sql import statements
from sessionledger.logs.sql.database import DatabaseLog, DatabaseReads
from sessionledger.logs.sql.writer import Writer, base_page, base_rows

if TYPE_CHECKING:  # few ledgers are copied
    from sessionledger.logs.compaction.transfer import Transfer

W = TypeVar("W", bound=Writer)

REWRITTEN_AT_ONCE = 500
"""Events for each transaction: about as long as a few ordinary commits."""


class CutQueries(Protocol):
    """A statement with the number of a topic, its cut, the cut's hash, and the seal."""

    CUT: str


class BaseReads(DatabaseReads):
    """As in `CompactableLog`, and the reads of a `Log`, which refuse what was removed."""

    _cut_queries: CutQueries

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        after, limit = check_page(after, limit)
        events = super().read(topic, after, limit)
        # Only a beginning is ever removed. What was removed before the statement above shows in a
        # later one.
        if not events or events[0].id > after + 1:
            refuse_below(self.cut(topic).id, after)
        return events

    def refuse_removed(self, topic: str, key: bytes, after: int) -> None:
        """Raises `HistoryCut` for a read of a key that had events which were removed."""
        cut = self.cut(topic).id
        if after < cut and self.base_row(topic, key) is not None:
            refuse_below(cut, after)

    def cut(self, topic: str) -> Cut:
        return self._cut_line(topic)[1]

    def base_row(self, topic: str, key: bytes) -> Row | None:
        number, cut = self._cut_line(topic)
        return base_rows(self._ask, number, cut.id, [key]).get(key) if cut.id else None

    def base(self, topic: str, after: bytes, limit: int) -> list[Row]:
        number, cut = self._cut_line(topic)
        return base_page(self._ask, number, cut.id, after, check_limit(limit)) if cut.id else []

    def cursors(self, topic: str) -> dict[str, int]:
        return dict(self._select(statements.CURSORS, (check_name("topic", topic),)))

    def _cut_line(self, topic: str) -> tuple[int, Cut]:
        """The number of a topic, and its cut."""
        found = self._select(self._cut_queries.CUT, (check_name("topic", topic),))
        if not found:
            return 0, WHOLE
        number, cut, hash, seal = found[0]
        return number, Cut(Head(cut, hash), seal)

    def _ask(self, sql: str, *values: Any) -> list[Any]:
        return self._select(sql, values)


class CompactableDatabase(Leased, DatabaseLog[W], BaseReads):
    """A log in a database that can be compacted.

    _links: where links are kept by key, the statements that find and delete those of removed
    events. Elsewhere they go with the events.
    """

    _links: tuple[str, str] | None = None

    def _give_back(self, between: Callable[[], None]) -> None:
        """Give the space of what was removed back to the system, if that has to be asked for.

        between: called between two steps.
        """

    def compactable(self) -> CompactableLog:
        return self

    def forget_cursor(self, topic: str, consumer: str) -> None:
        values = check_names(topic, consumer)
        self._change(lambda writer: writer.then(statements.FORGET_CURSOR, *values))

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        with self.lease():
            return super().rebuild(topic, progress)

    def extend(self, topic: str, events: Sequence[StoredEvent]) -> None:
        """As in `CopyableLog`."""
        self._change(lambda writer: writer.extend(check_name("topic", topic), events))

    def rebase(self, topic: str, transfer: Transfer) -> None:
        """As in `CopyableLog`."""
        self._change(lambda writer: writer.rebase(check_name("topic", topic), transfer))

    def hand_over(self, to: str, work: Callable[[], None]) -> None:
        """As in `CopyableLog`."""

        def hand_over(writer: W) -> None:
            writer.alone(work)
            writer.leave(to)

        with self.lease():
            self._change(hand_over)

    def compact(
        self, topic: str, compaction: Compaction, progress: Progress | None = None
    ) -> Reduction:
        from sessionledger.logs.sql.compactor import Compactor  # few processes ever do

        fold = units.fold_of(self._folds, topic)
        change: Callable[[Callable[[W], Any]], Any] = self._change
        with self.lease():
            if not compaction.removal.events and not self._is_interrupted(topic):
                return Reduction()
            cut, read = self.cut(topic), partial(self.read, topic)
            compactor = Compactor(
                topic, fold, cut, compaction, change, self._ask, read, self._links
            )
            reduced = compactor.run(progress)
            self._give_back(compactor.between)
            return reduced

    def rewrite(self, topic: str, rewriting: Rewriting, progress: Progress | None = None) -> None:
        fold, events = units.fold_of(self._folds, topic), rewriting.events
        self._change(lambda writer: writer.rewrite_rows(topic, fold, rewriting))
        for first in range(0, len(events), REWRITTEN_AT_ONCE):
            if progress is not None:
                progress(first)
            page = events[first : first + REWRITTEN_AT_ONCE]
            self._change(lambda writer: writer.replace_events(topic, page))  # noqa: B023

    def _is_interrupted(self, topic: str) -> bool:
        """Whether a compaction was interrupted, of this topic or, maybe, of another one."""
        ((first,),) = self._select(statements.FIRST_EVENT, (topic, 0))
        left = first is not None and first <= self.cut(topic).id
        return left or bool(self._select(statements.JOB, ()))
