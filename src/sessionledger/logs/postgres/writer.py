"""The statements of one write transaction: load what a batch touches, store what was planned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sessionledger.logs import chain, units
from sessionledger.logs.base import Fold, Row, RowFilter, Rule, StoredEvent, Unit
from sessionledger.logs.chain import Head, encode_headers
from sessionledger.logs.compaction.contract import MOVED, Cut
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.append.call import BYTES, INT8, NAMED, TEXT, Array, columns, named
from sessionledger.logs.postgres.connection import HOUR_SECONDS, Lines, Statement
from sessionledger.logs.postgres.transactions import Proof, Transaction
from sessionledger.logs.sql import statements, writer
from sessionledger.logs.sql.writer import FOLD_PAGE, Rows, TopicLine


class Writer(writer.Writer):
    """Reads and writes within a transaction."""

    _job = f"{statements.JOB} FOR SHARE"

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction

    def _load(
        self, topic: str, batch: Sequence[Unit], fold: Fold | None
    ) -> tuple[TopicLine, units.BatchState]:
        asked: list[Statement] = [
            (queries.NEWEST_EVENT, (topic, topic)),
            (queries.ROWS_OF_KEYS, (topic, units.keys_of(batch, fold))),
        ]
        rules = units.rules_of(batch)
        for rule in rules:
            sql, values = queries.listing(
                statements.ROW_COLUMNS, rule.where, rule.after, rule.limit
            )
            asked.append((sql, (topic, *values)))
        line, (newest, *found) = self._locked(topic, *asked)
        rows, *pages = map(queries.stored_rows, found)
        last = queries.stored_events(newest)
        head = chain.head_after(*last) if last else Head(line.head, None)
        relatives = self._relatives(topic, rules, pages)
        return line, units.BatchState(head, {row.key: row for row in rows}, pages, relatives)

    def _relatives(
        self, topic: str, rules: Sequence[Rule], pages: Sequence[Sequence[Row]]
    ) -> list[list[Row]]:
        """For each rule the live rows of its groups, asked for in one trip if there are any."""
        groups = [units.groups_of(rule, page) for rule, page in zip(rules, pages, strict=True)]
        if not any(groups):
            return [[] for _ in groups]
        named = [[group.encode() for group in of_rule] for of_rule in groups]
        asked = [(queries.ROWS_OF_GROUPS, (topic, names)) for names in named]
        return [queries.stored_rows(found) for found in self.transaction.ask(*asked)]

    def _add(self, line: TopicLine, events: Sequence[StoredEvent]) -> None:
        self.add_events(line, events)
        self.transaction.proof = Proof(line.xid, line.topic, events[0])

    def line(self, topic: str) -> TopicLine:
        return self._locked(topic)[0]

    def then(self, sql: str, *values: Any) -> None:
        self.transaction.then(sql, *values)

    def ask(self, topic: str, statement: Statement) -> tuple[Lines, int]:
        """What a statement answers, and the id of the mark in force."""
        line, (found,) = self._locked(topic, statement)
        return found, line.mark

    def _events(self, topic: str, after: int, until: int) -> list[StoredEvent]:
        # Folding what others appended takes as long as it takes.
        self.transaction.connection.renew()
        values = (topic, after, until, FOLD_PAGE)
        return queries.stored_events(self.transaction.ask((queries.GAP, values))[0])

    def rows_of_keys(self, line: TopicLine, keys: Collection[bytes]) -> Rows:
        (found,) = self.transaction.ask((queries.ROWS_OF_KEYS, (line.topic, list(keys))))
        return {row.key: row for row in queries.stored_rows(found)}

    def _store_folded(self, line: TopicLine, _: Rows, plan: units.Plan, until: int) -> None:
        if plan.rows:
            links = columns((BYTES, INT8), [(link.key, link.id) for link in plan.links])
            rows = _columns(list(plan.rows.values()))
            self.then(queries.ADD_ROWS, line.number, *rows, line.number, *links)
        self.then(queries.SET_FOLDED, until, line.topic)

    def _set_mark(self, line: TopicLine, mark: int) -> None:
        self.then(queries.SET_MARK, mark, line.topic)

    def listed(self, line: TopicLine, where: RowFilter) -> list[Row]:
        sql, values = queries.listing(statements.ROW_COLUMNS, where)
        return queries.stored_rows(self.transaction.ask((sql, (line.topic, *values)))[0])

    def _drop(self, line: TopicLine) -> None:
        self.transaction.connection.renew(HOUR_SECONDS)
        self.then(queries.NEW_EPOCH)
        self.then(statements.DROP_ROWS, line.number)
        self.then(statements.DROP_LINKS, line.number)
        self.then(queries.SET_FOLDED, line.cut, line.topic)
        self._set_mark(line, 0)

    def put_rows(self, line: TopicLine, rows: Sequence[Row]) -> None:
        if rows:
            self.then(queries.NEW_EPOCH)
            self.then(queries.PUT_ROWS, line.number, *_columns(rows))

    def set_cut(self, line: TopicLine, cut: Cut) -> None:
        self.then(queries.SET_CUT, cut.id, cut.head.hash, cut.seal, line.topic)
        # A role that owns nothing finds it, made by another one.
        if not self.select(queries.GUARD_THERE):
            for statement in queries.GUARD_EVENTS:
                self.then(statement)

    def add_events(self, line: TopicLine, events: Sequence[StoredEvent]) -> None:
        lines = [
            (e.id, e.kind.encode(), e.payload, encode_headers(e.headers), e.occurred_at_ms)
            for e in events
        ]
        told = columns((INT8, TEXT, BYTES, TEXT, INT8), lines)
        self.then(queries.ADD_EVENTS, line.topic, *told)
        self.then(queries.MOVE_HEAD, events[-1].id, line.topic)

    def alone(self, work: Callable[[], None]) -> None:
        self.transaction.connection.renew(HOUR_SECONDS)
        self.transaction.ask((queries.UNHURRIED, ()), (queries.EXCLUDE.format("EXCLUSIVE"), ()))
        work()

    def leave(self, to: str) -> None:
        self.then(queries.EXCLUDE.format("ACCESS EXCLUSIVE"))
        self.then(queries.SET_MOVED, to)
        rename, view = queries.LEAVE
        for statement in (rename, queries.REFUSE.format(MOVED), view):
            for name in queries.TABLES_IN_ORDER if "{0}" in statement else ("",):
                self.then(statement.format(name))

    def forget(self, line: TopicLine, keys: Sequence[bytes], fold: Fold) -> None:
        super().forget(line, keys, fold)
        self.then(queries.FORGET_LINKS, line.number, list(keys), line.cut)

    def select(self, sql: str, *values: Any) -> list[Any]:
        return self.transaction.ask((sql, values))[0]

    def _locked(self, topic: str, *statements: Statement) -> tuple[TopicLine, list[Lines]]:
        """The line of a topic, which nobody else writes from here on, and what is asked after."""
        lock = (queries.LOCK_TOPIC, (topic,))
        lines, *answers = self.transaction.ask(lock, *statements)
        if not lines:
            add = (queries.ADD_TOPIC, (topic,))
            _, lines, *answers = self.transaction.ask(add, lock, *statements)
        return TopicLine(topic, *lines[0]), answers


def _columns(rows: Sequence[Row]) -> list[Array]:
    lines = [(row.key, row.version, row.created, *named(row)) for row in rows]
    return columns((BYTES, INT8, INT8, *NAMED), lines)
