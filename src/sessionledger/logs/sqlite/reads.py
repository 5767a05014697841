"""The reads that a SQLite ledger and a snapshot of it answer by the same statements."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from sessionledger.logs.arguments import check_page
from sessionledger.logs.base import StoredEvent
from sessionledger.logs.sql.compactable import BaseReads
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.readers import Execute

T = TypeVar("T")

Ask: TypeAlias = Callable[[Execute, int, int], T]
"""Asks about the rows of a topic, given its number and mark, by statements that see one state."""


class SQLiteReads(BaseReads):
    """As in `Log`."""

    _queries = queries
    _cut_queries = queries

    def __init__(self) -> None:
        super().__init__()
        self._key_histories = KeyHistories()

    @abstractmethod
    def _in_current(self, topic: str, ask: Ask[T]) -> T:
        """Ask in a state in which the rows of the topic are folded up to its head."""

    def _with_mark(self, topic: str, sql: str, values: Sequence[Any]) -> tuple[list[Any], int]:
        return self._in_current(
            topic, lambda execute, number, mark: (execute(sql, (number, *values)).fetchall(), mark)
        )

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        after, limit = check_page(after, limit)

        def ask(execute: Execute, number: int, _: int) -> list[Any]:
            ids = self._key_histories.page(execute, number, key, after, limit)
            found = [execute(queries.EVENT, (topic, id)).fetchall() for id in ids]
            return [line for lines in found for line in lines]

        found = queries.stored_events(self._in_current(topic, ask))
        self.refuse_removed(topic, key, after)
        return found


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
