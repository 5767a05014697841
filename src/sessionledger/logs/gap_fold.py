"""A log that is only read, whose gaps are folded in memory.

Others may have appended events without rows. A log that may be written folds those into its tables
before it answers. This one changes nothing: it folds the events of such a topic, all of them, in
the memory of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from sessionledger.errors import LogUnavailable
from sessionledger.logs import units
from sessionledger.logs.arguments import check_limit, check_name, check_page
from sessionledger.logs.base import ALL_ROWS, Fold, KeyState, Log, Row, RowFilter, StoredEvent

if TYPE_CHECKING:
    from sessionledger.logs.embedded.row_table import RowTable

T = TypeVar("T")

PAGE = 1000


class RowsBehind(LogUnavailable):
    """Events of the topic have no rows yet, and this log may not write them."""


class ReadOnlyLog:
    """As in `Log`, over one that refuses changes, and raises `RowsBehind`.

    It is a `RemoteLog` too: an event loop asks it by threads, since a gap takes long.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._folds: dict[str, Fold] = {}
        self._tables: dict[str, tuple[int, RowTable]] = {}
        # What has nothing to do with rows.
        self.timeout = log.timeout
        self.append, self.rebuild, self.ack = log.append, log.rebuild, log.ack
        self.read, self.latest, self.wait = log.read, log.latest, log.wait
        self.cursor, self.topics, self.describe = log.cursor, log.topics, log.describe
        self.compactable = log.compactable
        self.examine, self.flush, self.close = log.examine, log.flush, log.close

    def fold_with(self, topic: str, fold: Fold) -> None:
        self._folds[check_name("topic", topic)] = fold
        self._log.fold_with(topic, fold)

    def mark(self, topic: str) -> int:
        return self._ask(
            topic, lambda: self._log.mark(topic), lambda t: 0 if t.mark is None else t.mark.id
        )

    def row(self, topic: str, key: bytes) -> Row | None:
        return self._ask(topic, lambda: self._log.row(topic, key), lambda t: t.row(key))

    def state(self, topic: str, key: bytes) -> KeyState | None:
        return self._ask(topic, lambda: self._log.state(topic, key), lambda t: t.state(key))

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        return {key: self.state(topic, key) for key in keys}

    def kept(self, topic: str, key: bytes) -> KeyState | None:  # noqa: ARG002  no row is kept
        return None

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        return self._ask(
            topic,
            lambda: self._log.rows(topic, where, after, limit),
            lambda table: table.list(where, after, check_limit(limit)),
        )

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        return self._ask(topic, lambda: self._log.count(topic, where), lambda t: t.count(where))

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        def found(table: RowTable) -> list[StoredEvent]:
            ids = table.history(key, *check_page(after, limit))
            return [event for id in ids for event in self.read(topic, id - 1, 1)]

        return self._ask(topic, lambda: self._log.read_key(topic, key, after, limit), found)

    def _ask(self, topic: str, log: Callable[[], T], table: Callable[[RowTable], T]) -> T:
        try:
            return log()
        except RowsBehind:
            return table(self._folded(topic))

    def _folded(self, topic: str) -> RowTable:
        fold = units.fold_of(self._folds, topic)
        head, table = self._tables.pop(topic) if topic in self._tables else self._base(topic)
        while page := self.read(topic, head, PAGE):
            table.fold(fold, page)
            head = page[-1].id
        self._tables[topic] = head, table
        return table

    def _base(self, topic: str) -> tuple[int, RowTable]:
        """The rows as of the cut, from which folding begins."""
        from sessionledger.logs.embedded.row_table import RowTable  # few ledgers have a gap

        log = self._log.compactable()
        if log is None:
            return 0, RowTable()
        rows, after = list[Row](), b""
        while page := log.base(topic, after, PAGE):
            rows, after = rows + page, page[-1].key
        return log.cut(topic).id, RowTable(rows)
