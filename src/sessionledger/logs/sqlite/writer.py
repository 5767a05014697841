"""The statements of one write transaction: load what a batch touches, store what was planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain as chain_together
from itertools import islice
from typing import Any, cast

import apsw

from sessionledger.logs import chain, units
from sessionledger.logs.base import Fold, Outcome, Row, Rule, StoredEvent, Unit
from sessionledger.logs.chain import Head
from sessionledger.logs.sqlite import queries

FOLD_PAGE = 1000
_KEYS_A_STATEMENT = 64
_LINES_A_STATEMENT = 64
_TOLD_AT_MOST = 64


class Writer:
    """Reads and writes within a transaction that its caller holds."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._heads: dict[str, Head] = {}

    def roll_back(self) -> None:
        """End the transaction, if one is open, as if it had never been."""
        self._heads.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def write(self, topic: str, batch: Sequence[Unit], fold: Fold | None) -> list[Outcome]:
        """Judge the units and store those that may be written."""
        number, folded, head = self.topic_line(topic)
        if fold is not None and folded != head:
            self.fold_gap(topic, fold)
        tail = self._tail(topic, number, head, batch, fold)
        known = dict(tail.rows)
        plan = units.plan(topic, batch, fold, tail)
        if plan.events:
            self._store_events(topic, plan.events)
            self._heads[topic] = plan.head
            if fold is not None:
                self._store_rows(number, plan, known)
                self._tell(number, head, plan.head.id, plan.links)
        return plan.outcomes

    def write_meta(self) -> None:
        """Write what stands there already: the least that is a transaction."""
        self.connection.execute(queries.WRITE_META, ("schema", queries.SCHEMA_VERSION))

    def fold_gap(self, topic: str, fold: Fold) -> int:
        """Fold what was appended without rows, all of it; how many events that were."""
        done = 0
        while page := self.fold_page(topic, fold):
            done += page
        return done

    def fold_page(self, topic: str, fold: Fold) -> int:
        """Fold the next events that have no rows yet; how many those were."""
        number, folded, head = self.topic_line(topic)
        units.refuse_shortened(topic, folded, head)
        if head == folded:
            return 0
        page = self.connection.execute(queries.GAP, (topic, folded, head, FOLD_PAGE))
        events = [stored_event(columns) for columns in page]
        keys = {key for event in events if (key := fold.key(event)) is not None}
        rows = self._rows(number, keys)
        known = dict(rows)
        plan = units.refold(fold, events, rows)
        self._store_rows(number, plan, known)
        until = events[-1].id if len(events) == FOLD_PAGE else head
        self._tell(number, folded, until, plan.links)
        return len(events)

    def drop_rows(self, topic: str) -> None:
        """Forget the rows of a topic and that anything was folded into them."""
        number, folded, head = self.topic_line(topic)
        units.refuse_shortened(topic, folded, head)
        self.connection.execute(queries.DROP_ROWS, (number,))
        self.connection.execute(queries.DROP_LINKS, (number,))
        self.connection.execute(queries.SET_UNFOLDED, (number,))
        self.connection.execute(queries.COPY_HEADS)

    def topic_line(self, topic: str) -> tuple[int, int, int]:
        """A topic's number in our tables, up to where its rows are folded, and its head."""
        found = self.connection.execute(queries.TOPIC_LINE, (topic,)).fetchall()
        if not found:
            self.connection.execute(queries.ADD_TOPIC, (topic,))
            found = self.connection.execute(queries.TOPIC_LINE, (topic,)).fetchall()
        return cast(tuple[int, int, int], found[0])

    def _tail(
        self, topic: str, number: int, head: int, batch: Sequence[Unit], fold: Fold | None
    ) -> units.Tail:
        rows = self._rows(number, units.keys_of(batch, fold))
        pages = [self._page(number, rule) for rule in units.rules_of(batch)]
        rows.update((row.key, row) for page in pages for row in page)
        return units.Tail(self._head(topic, head), rows, pages)

    def _page(self, number: int, rule: Rule) -> list[Row]:
        sql, values = queries.listing(queries.ROW_COLUMNS, rule.where, rule.after, rule.limit)
        return stored_rows(self.connection.execute(sql, (number, *values)))

    def _head(self, topic: str, id: int) -> Head:
        known = self._heads.get(topic)
        if known is not None and known.id == id:
            return known
        newest = self.connection.execute(queries.EVENT, (topic, id)).fetchall()
        return chain.head_after(stored_event(newest[0])) if newest else Head(id, None)

    def _rows(self, number: int, keys: Iterable[bytes]) -> dict[bytes, Row]:
        rows = {}
        for few in _pages(iter(keys)):
            marks = ",".join("?" * len(few))
            found = self.connection.execute(queries.ROWS_OF_KEYS.format(marks), (number, *few))
            rows.update({row.key: row for row in stored_rows(found)})
        return rows

    def _store_events(self, topic: str, events: Sequence[StoredEvent]) -> None:
        lines = [
            (topic, e.id, e.kind, e.payload, _headers_text(e), e.occurred_at_ms) for e in events
        ]
        self._insert(queries.ADD_EVENTS, lines)
        self.connection.execute(queries.SET_HEAD, (topic, events[-1].id))

    def _store_rows(self, number: int, plan: units.Plan, known: dict[bytes, Row]) -> None:
        """Store the rows of a plan; `known` are those that were there before."""
        lines: dict[str, list[tuple[Any, ...]]] = {}
        for r in plan.rows.values():
            line = (
                r.key,
                number,
                r.version,
                r.created,
                r.owner,
                r.expires,
                r.live,
                r.state,
                r.alias,
                r.group,
            )
            lines.setdefault(_storing(r, known.get(r.key)), []).append(line)
        for statement, of_it in lines.items():
            self._insert(statement, of_it)
        followed = [(number, link.id, link.previous) for link in plan.links if link.previous]
        self._insert(queries.ADD_LINKS, followed)

    def _tell(self, number: int, since: int, until: int, links: Sequence[units.Link]) -> None:
        """Say up to where the rows are folded, and what was superseded on the way."""
        self.connection.execute(queries.SET_FOLDED, (until, since, _superseded(links), number))

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


def stored_event(columns: Sequence[Any]) -> StoredEvent:
    """The event of a line of `events`, as far as it is one: this never raises."""
    id, kind, payload, headers, occurred_at_ms = columns
    return StoredEvent(
        id,
        (kind or b"").decode(errors="replace"),
        payload or b"",
        chain.decode_headers(headers or b""),
        occurred_at_ms or 0,
    )


def stored_rows(lines: Iterable[Any]) -> list[Row]:
    """The rows of lines of `ledger_rows`."""
    return [
        Row(key, version, created, owner, expires, live == 1, state, alias, group)
        for key, version, created, owner, expires, live, state, alias, group in lines
    ]


def events_of(
    execute: Callable[..., apsw.Cursor], topic: str, ids: Iterable[int]
) -> list[StoredEvent]:
    """The events of a topic with these ids, as far as they are there."""
    found = [execute(queries.EVENT, (topic, id)).fetchall() for id in ids]
    return [stored_event(columns) for event in found for columns in event]


def row_of(execute: Callable[..., apsw.Cursor], number: int, key: bytes) -> Row | None:
    """The row of a key, None where there is none."""
    found = stored_rows(execute(queries.ROWS_OF_KEYS.format("?"), (number, key)))
    return found[0] if found else None


def _pages(keys: Iterator[bytes]) -> Iterator[tuple[bytes, ...]]:
    while few := tuple(islice(keys, _KEYS_A_STATEMENT)):
        yield few
