"""The reads that a SQLite ledger and a snapshot of it answer by the same statements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from sessionledger.logs.arguments import check_limit, check_name, check_names
from sessionledger.logs.base import ALL_ROWS, Row, RowFilter, StoredEvent
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.readers import Execute
from sessionledger.logs.sqlite.writer import events_of, row_of, stored_event, stored_rows

T = TypeVar("T")


class Reads(ABC):
    """As in `Log`."""

    def __init__(self) -> None:
        self._key_histories = KeyHistories()

    @abstractmethod
    def _select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        """All lines of one statement."""

    @abstractmethod
    def _current(self, topic: str, read: Callable[[Execute, int], T]) -> T:
        """Read in a snapshot in which the rows of the topic are folded up to its head.

        `read` also gets the topic's number.
        """

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        values = (check_name("topic", topic), after, check_limit(limit))
        return [stored_event(columns) for columns in self._select(queries.EVENTS_AFTER, values)]

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        def read(execute: Execute, number: int) -> list[StoredEvent]:
            ids = self._key_histories.page(execute, number, key, after, check_limit(limit))
            return events_of(execute, topic, ids)

        return self._current(topic, read)

    def latest(self, topic: str) -> int:
        return self._one(queries.HEAD, (check_name("topic", topic),))

    def row(self, topic: str, key: bytes) -> Row | None:
        return self._current(topic, lambda execute, number: row_of(execute, number, key))

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        sql, values = queries.listing(queries.ROW_COLUMNS, where, after, check_limit(limit))
        return stored_rows(self._of_topic(topic, sql, values))

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        sql, values = queries.listing("count(*)", where)
        return cast(int, self._of_topic(topic, sql, values)[0][0])

    def cursor(self, topic: str, consumer: str) -> int:
        return self._one(queries.CURSOR, check_names(topic, consumer))

    def topics(self) -> list[str]:
        return [topic for (topic,) in self._select(queries.TOPICS, ())]

    def _of_topic(self, topic: str, sql: str, values: Sequence[Any]) -> list[Any]:
        return self._current(
            topic, lambda execute, number: execute(sql, (number, *values)).fetchall()
        )

    def _one(self, sql: str, values: tuple[Any, ...]) -> int:
        found = self._select(sql, values)
        return int(found[0][0]) if found else 0


_History: TypeAlias = tuple[int, bytes, int, Sequence[int]]
"""Topic, key, its newest event, and the ids of all its events."""


class KeyHistories:
    """The events of a key, page by page, each of which costs its own size.

    Links lead back from the newest event. A caller that asks for one page most likely asks for the
    next one. So the ids of a key are kept until another key is asked for.
    """

    def __init__(self) -> None:
        self._last: _History | None = None

    def page(
        self, execute: Execute, number: int, key: bytes, after: int, limit: int
    ) -> Sequence[int]:
        """The ids of a key's events above `after`, in order, at most `limit` of them."""
        ids = self._ids(execute, number, key)
        start = bisect_right(ids, after)
        return ids[start : start + limit]

    def _ids(self, execute: Execute, number: int, key: bytes) -> Sequence[int]:
        found = execute(queries.VERSION_OF_KEY, (number, key)).fetchall()
        version = cast(int, found[0][0]) if found else 0
        last = self._last
        if last is not None and last[:3] == (number, key, version):
            return last[3]
        ids = array("q", sorted(id for (id,) in execute(queries.KEY_HISTORY, (key, number))))
        self._last = (number, key, version, ids)
        return ids
