"""The statements of one write transaction: load what a batch touches, store what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sessionledger.logs import chain, units
from sessionledger.logs.base import Fold, Outcome, Row, StoredEvent, Unit
from sessionledger.logs.chain import Head
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Lines, Statement
from sessionledger.logs.postgres.transactions import Proof, Transaction

FOLD_PAGE = 1000


class TopicLine(NamedTuple):
    """A topic's number, up to where its rows are folded, its head, and the number of the
    transaction that has it."""

    number: int
    folded: int
    head: int
    xid: str


def write(
    transaction: Transaction, topic: str, batch: Sequence[Unit], fold: Fold | None
) -> list[Outcome]:
    """Judge the units and store those that may be written."""
    asked: list[Statement] = [(queries.ROWS_OF_KEYS, (topic, units.keys_of(batch, fold)))]
    for rule in units.rules_of(batch):
        sql, values = queries.listing(queries.ROW_COLUMNS, rule.where, rule.after, rule.limit)
        asked.append((sql, (topic, *values)))
    at_head: Statement = (queries.NEWEST_EVENT, (topic, topic))
    line, (newest, *found) = _locked(transaction, topic, at_head, *asked)
    if fold is not None and line.folded != line.head:
        fold_gap(transaction, topic, fold)
        found = transaction.ask(*asked)
    rows, *pages = map(stored_rows, found)
    head = chain.head_after(stored_event(newest[0])) if newest else Head(line.head, None)
    tail = units.Tail(head, {row.key: row for row in rows}, pages)
    plan = units.plan(topic, batch, fold, tail)
    if plan.events:
        _store(transaction, topic, line.number, plan, has_rows=fold is not None)
        transaction.proof = Proof(line.xid, topic, plan.events[0])
    return plan.outcomes


def _store(
    transaction: Transaction, topic: str, number: int, plan: units.Plan, *, has_rows: bool
) -> None:
    """What was planned, and where the topic is then; has_rows: its rows are kept up to there."""
    head, events = plan.head.id, _events(topic, plan.events)
    if plan.rows:
        transaction.then(queries.ADD_ALL, *events, *_rows(number, plan), head, head, topic)
        return
    transaction.then(queries.ADD_EVENTS, *events)
    transaction.then(queries.MOVE_HEAD, head, topic)
    if has_rows:
        transaction.then(queries.SET_FOLDED, head, topic)


def fold_gap(transaction: Transaction, topic: str, fold: Fold) -> None:
    """Fold what was appended without rows, all of it."""
    while fold_page(transaction, topic, fold):
        transaction.send()


def fold_page(transaction: Transaction, topic: str, fold: Fold) -> int:
    """Fold the next events that have no rows yet; how many those were."""
    line, _ = _locked(transaction, topic)
    units.refuse_shortened(topic, line.folded, line.head)
    if line.head == line.folded:
        return 0
    gap = (topic, line.folded, line.head, FOLD_PAGE)
    (page,) = transaction.ask((queries.EVENTS_UP_TO, gap))
    events = stored_events(page)
    keys = list({key for event in events if (key := fold.key(event)) is not None})
    (rows,) = transaction.ask((queries.ROWS_OF_KEYS, (topic, keys)))
    plan = units.refold(fold, events, {row.key: row for row in stored_rows(rows)})
    if plan.rows:
        transaction.then(queries.ADD_ROWS, *_rows(line.number, plan))
    until = events[-1].id if len(events) == FOLD_PAGE else line.head
    transaction.then(queries.SET_FOLDED, until, topic)
    return len(events)


def drop_rows(transaction: Transaction, topic: str) -> None:
    """Forget the rows of a topic and that anything was folded into them."""
    line, _ = _locked(transaction, topic)
    units.refuse_shortened(topic, line.folded, line.head)
    transaction.then(queries.DROP_ROWS, line.number)
    transaction.then(queries.DROP_LINKS, line.number)
    transaction.then(queries.SET_FOLDED, 0, topic)


def _locked(
    transaction: Transaction, topic: str, *statements: Statement
) -> tuple[TopicLine, list[Lines]]:
    """The line of a topic, which nobody else writes from here on, and what is asked after it."""
    lines, *answers = transaction.ask((queries.LOCK_TOPIC, (topic,)), *statements)
    if not lines:
        _, lines, *answers = transaction.ask(
            (queries.ADD_TOPIC, (topic,)), (queries.LOCK_TOPIC, (topic,)), *statements
        )
    return TopicLine(*lines[0]), answers


def _events(topic: str, events: Sequence[StoredEvent]) -> list[Any]:
    """What `ADD_EVENTS` takes."""
    return [
        topic,
        [event.id for event in events],
        [event.kind for event in events],
        [event.payload for event in events],
        [chain.encode_headers(event.headers).decode() for event in events],
        [event.occurred_at_ms for event in events],
    ]


def _rows(number: int, plan: units.Plan) -> list[Any]:
    """What `PUT_ROWS` and `ADD_LINKS` take."""
    rows, links = list(plan.rows.values()), plan.links
    return [
        number,
        [row.key for row in rows],
        [row.version for row in rows],
        [row.created for row in rows],
        [row.owner.encode() for row in rows],
        [row.expires for row in rows],
        [row.live for row in rows],
        [row.state for row in rows],
        [None if row.alias is None else row.alias.encode() for row in rows],
        [None if row.group is None else row.group.encode() for row in rows],
        number,
        [link.key for link in links],
        [link.id for link in links],
    ]


def stored_event(columns: Sequence[Any]) -> StoredEvent:
    """The event of a line of `events`."""
    id, kind, payload, headers, occurred_at_ms = columns
    return StoredEvent(id, kind, payload, chain.decode_headers(headers), occurred_at_ms)


def stored_events(lines: Lines) -> list[StoredEvent]:
    """The events of lines of `events`."""
    return [stored_event(columns) for columns in lines]


def stored_rows(lines: Lines) -> list[Row]:
    """The rows of lines of `ledger_rows`."""
    return [_row(*columns) for columns in lines]


def _row(
    key: bytes,
    version: int,
    created: int,
    owner: bytes,
    expires: int,
    live: bool,
    state: bytes,
    alias: bytes | None,
    group: bytes | None,
) -> Row:
    names = [None if name is None else name.decode() for name in (alias, group)]
    return Row(key, version, created, owner.decode(), expires, live, state, *names)
