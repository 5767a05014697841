"""What is done to a topic within a write transaction, whatever the database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, TypeAlias

import msgspec

from sessionledger.logs import units
from sessionledger.logs.base import Fold, Row, StoredEvent

Rows: TypeAlias = dict[bytes, Row]

FOLD_PAGE = 1000


class TopicLine(msgspec.Struct, frozen=True, gc=False):
    """A topic, its number in the tables, up to where its rows are folded, and its head.

    xid: the number of the transaction that has the line, if the database has such numbers.
    """

    topic: str
    number: int
    folded: int
    head: int
    xid: str = ""


class Writer(ABC):
    """Reads and writes within a transaction."""

    @abstractmethod
    def line(self, topic: str) -> TopicLine:
        """The line of a topic, which nobody else writes from here on."""

    @abstractmethod
    def then(self, sql: str, *values: Any) -> None:
        """Write something, with the commit at the latest."""

    @abstractmethod
    def _gap(self, line: TopicLine) -> list[StoredEvent]:
        """The next events that have no rows yet, at most `FOLD_PAGE` of them."""

    @abstractmethod
    def _rows(self, line: TopicLine, keys: Collection[bytes]) -> Rows:
        """The rows of these keys, as far as there are any."""

    @abstractmethod
    def _store_folded(self, line: TopicLine, known: Rows, plan: units.Plan, until: int) -> None:
        """Store the rows of a plan, and up to where they are folded; `known`: those before it."""

    @abstractmethod
    def _drop(self, line: TopicLine) -> None:
        """Delete the rows and links, and store that nothing is folded."""

    def fold_gap(self, topic: str, fold: Fold) -> None:
        """Fold what was appended without rows, all of it."""
        while self.fold_page(topic, fold):
            pass

    def fold_page(self, topic: str, fold: Fold) -> int:
        """Fold the next events that have no rows yet; how many those were."""
        line = self.line(topic)
        units.refuse_shortened(topic, line.folded, line.head)
        if line.head == line.folded:
            return 0
        events = self._gap(line)
        rows = self._rows(line, {key for event in events if (key := fold.key(event)) is not None})
        known = dict(rows)
        plan = units.refold(fold, events, rows)
        until = events[-1].id if len(events) == FOLD_PAGE else line.head
        self._store_folded(line, known, plan, until)
        return len(events)

    def drop_rows(self, topic: str) -> None:
        """Forget the rows of a topic and that anything was folded into them."""
        line = self.line(topic)
        units.refuse_shortened(topic, line.folded, line.head)
        self._drop(line)
