"""The statements of one write transaction: load what a batch touches, store what was planned."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import chain as chain_together
from itertools import islice
from typing import Any

import apsw
from msgspec.structs import astuple

from sessionledger.logs import chain, units
from sessionledger.logs.base import OVER, Fold, Row, RowFilter, Rule, StoredEvent, Unit
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.contract import MOVED, Cut
from sessionledger.logs.sql import statements, writer
from sessionledger.logs.sql.writer import FOLD_PAGE, Rows, TopicLine
from sessionledger.logs.sqlite import queries

_KEYS_A_STATEMENT = 64
_LINES_A_STATEMENT = 64
_TOLD_AT_MOST = 64


class Writer(writer.Writer):
    """Reads and writes within a transaction that its caller holds."""

    _put_base = queries.REPLACE_BASE

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._heads: dict[str, Head] = {}

    def roll_back(self) -> None:
        """End the transaction, if one is open, as if it had never been."""
        self._heads.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def write_meta(self) -> None:
        """Write what stands there already: the least that is a transaction."""
        self.connection.execute(queries.WRITE_META, ("schema", queries.SCHEMA_VERSION))

    def free_pages(self) -> int:
        """How many pages of the file nothing uses."""
        return int(str(self.connection.pragma("freelist_count")))

    def give_back(self) -> int:
        """Give some of them back to the system; how many are left."""
        self.select(queries.GIVE_BACK)
        return self.free_pages()

    def line(self, topic: str) -> TopicLine:
        found: list[Any] = self.connection.execute(queries.TOPIC_LINE, (topic,)).fetchall()
        if not found:
            self.connection.execute(queries.ADD_TOPIC, (topic,))
            found = self.connection.execute(queries.TOPIC_LINE, (topic,)).fetchall()
        return TopicLine(topic, *found[0])

    def then(self, sql: str, *values: Any) -> None:
        self.connection.execute(sql, values).fetchall()

    def _events(self, topic: str, after: int, until: int) -> list[StoredEvent]:
        values = (topic, after, until, FOLD_PAGE)
        return queries.stored_events(self.connection.execute(queries.GAP, values))

    def _store_folded(self, line: TopicLine, known: Rows, plan: units.Plan, until: int) -> None:
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for row in plan.rows.values():
            statement = _storing(row, known.get(row.key))
            rows.setdefault(statement, []).append((line.number, *astuple(row)))
        for statement, of_it in rows.items():
            self._insert(statement, of_it)
        followed = [(line.number, link.id, link.previous) for link in plan.links if link.previous]
        self._insert(queries.ADD_LINKS, followed)
        told = (until, line.folded, _superseded(plan.links), line.number)
        self.connection.execute(queries.SET_FOLDED, told)

    def _set_mark(self, line: TopicLine, mark: int) -> None:
        self.connection.execute(queries.SET_MARK, (mark, line.number))

    def listed(self, line: TopicLine, where: RowFilter) -> list[Row]:
        return self._page(line.number, where)

    def _drop(self, line: TopicLine) -> None:
        for statement in (statements.DROP_ROWS, statements.DROP_LINKS, queries.SET_UNFOLDED):
            self.connection.execute(statement, (line.number,))
        self.connection.execute(queries.COPY_HEADS)

    def put_rows(self, line: TopicLine, rows: Sequence[Row]) -> None:
        self._insert(queries.REPLACE_ROWS, [(line.number, *astuple(row)) for row in rows])

    def set_cut(self, line: TopicLine, cut: Cut) -> None:
        values = (cut.id, cut.head.hash, cut.seal, line.number)
        self.connection.execute(queries.SET_CUT, values)
        self.connection.execute(queries.GUARD_EVENTS)

    def add_events(self, line: TopicLine, events: Sequence[StoredEvent]) -> None:
        self._add(line, events)
        self.connection.execute(queries.DECLARE_NOTHING, (line.number,))

    def leave(self, to: str) -> None:
        tables = [name for (name,) in self.select(queries.TABLES)]
        ours = [name for name in tables if name in queries.ALL_TABLES]
        told = f"{MOVED}{to}".replace('"', '""')
        # A view that can't be read keeps SQLite from renaming a table.
        for statement in queries.LEAVE:
            for name in ours:
                self.connection.execute(statement.format(name=name, told=told))

    def remove_events(self, line: TopicLine, after: int, until: int) -> None:
        super().remove_events(line, after, until)
        self.then(queries.REMOVE_LINKS, line.number, until)

    def select(self, sql: str, *values: Any) -> list[Any]:
        return self.connection.execute(sql, values).fetchall()

    def _load(
        self, topic: str, batch: Sequence[Unit], fold: Fold | None
    ) -> tuple[TopicLine, units.BatchState]:
        line = self.line(topic)
        rows = self.rows_of_keys(line, units.keys_of(batch, fold))
        rules = units.rules_of(batch)
        pages = [self._page(line.number, rule.where, rule.after, rule.limit) for rule in rules]
        relatives = [self._relatives(line.number, *of) for of in zip(rules, pages, strict=True)]
        rows.update((row.key, row) for page in (*pages, *relatives) for row in page)
        return line, units.BatchState(self._head(topic, line.head), rows, pages, relatives)

    def _page(
        self, number: int, where: RowFilter, after: Row | None = None, limit: int | None = None
    ) -> list[Row]:
        sql, values = queries.listing(statements.ROW_COLUMNS, where, after, limit)
        return queries.stored_rows(self.connection.execute(sql, (number, *values)))

    def _relatives(self, number: int, rule: Rule, page: Sequence[Row]) -> list[Row]:
        groups = units.groups_of(rule, page)
        wheres = [RowFilter(group=group, live_at=OVER) for group in groups]
        return [row for where in wheres for row in self._page(number, where)]

    def _head(self, topic: str, id: int) -> Head:
        known = self._heads.get(topic)
        if known is not None and known.id == id:
            return known
        newest = self.connection.execute(queries.EVENT, (topic, id)).fetchall()
        return chain.head_after(*queries.stored_events(newest)) if newest else Head(id, None)

    def rows_of_keys(self, line: TopicLine, keys: Collection[bytes]) -> Rows:
        rows = {}
        for few in _pages(iter(keys)):
            marks = ",".join("?" * len(few))
            found = self.connection.execute(queries.ROWS_OF_KEYS.format(marks), (line.number, *few))
            rows.update({row.key: row for row in queries.stored_rows(found)})
        return rows

    def _add(self, line: TopicLine, events: Sequence[StoredEvent]) -> None:
        topic = line.topic
        if line.cut:
            self.connection.execute(queries.DECLARE, (line.number,))
        lines = [
            (topic, e.id, e.kind, e.payload, _headers_text(e), e.occurred_at_ms) for e in events
        ]
        self._insert(queries.ADD_EVENTS, lines)
        self.connection.execute(queries.SET_HEAD, (topic, events[-1].id))
        self._heads[topic] = chain.head_after(events[-1])

    def _insert(self, statement: str, lines: Sequence[tuple[Any, ...]]) -> None:
        """Insert the lines with few statements: each is a trip into SQLite without the GIL.

        By powers of two, so that few different ones have to be prepared.
        """
        start, left = 0, len(lines)
        while left:
            size = min(_LINES_A_STATEMENT, 1 << (left.bit_length() - 1))
            sql = _inserting(statement, len(lines[start]), size)
            values = tuple(chain_together.from_iterable(lines[start : start + size]))
            self.connection.execute(sql, values)
            start, left = start + size, left - size


_inserting = cache(queries.inserting)


def _storing(row: Row, before: Row | None) -> str:
    """The statement that stores a row: what is set is written to its index, changed or not."""
    if before is None:
        return queries.ADD_ROWS
    names = (row.created, row.owner, row.alias, row.group)
    if names != (before.created, before.owner, before.alias, before.group):
        return queries.PUT_ROWS
    return queries.RENEW_ROWS if row.live == before.live else queries.END_ROWS


def _superseded(links: Sequence[units.Link]) -> str | None:
    """The versions that were superseded, each before a comma; None for more than are told."""
    versions = [f"{link.previous}," for link in links if link.previous]
    return "".join(versions) if len(versions) <= _TOLD_AT_MOST else None


def _headers_text(event: StoredEvent) -> str:
    return chain.encode_headers(event.headers).decode()


def _pages(keys: Iterator[bytes]) -> Iterator[tuple[bytes, ...]]:
    while few := tuple(islice(keys, _KEYS_A_STATEMENT)):
        yield few
