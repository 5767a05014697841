"""An append as one call of a function of the server, which judges, numbers and chains it.

A rule is decided here, on rows that are read before, without a lock. The call names each of these
rows with its version, and the names that the rule goes by with the newest event at the read. If one
of the rows has changed since, or another one has come to a name, nothing is written. Then the rule
is decided again, under the lock of the topic's line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import pack
from typing import Any, NamedTuple

from psycopg.adapt import Dumper
from psycopg.pq import Format

from sessionledger.logs import chain, units
from sessionledger.logs.base import (
    Appended,
    Change,
    Conflict,
    Draft,
    Fold,
    LogEvent,
    Outcome,
    Put,
    Row,
    Rule,
    StoredEvent,
    Unit,
    Verdict,
)
from sessionledger.logs.chain import Head
from sessionledger.logs.postgres import listings, queries
from sessionledger.logs.postgres.append.functions import APPEND, APPEND_ONE
from sessionledger.logs.postgres.connection import Lines, Statement
from sessionledger.logs.sql.statements import ROW_COLUMNS

Select = Callable[[str, Sequence[Any]], Lines]

# Types of elements, as PostgreSQL numbers types, and how those of a fixed size are packed.
BOOL, BYTES, INT8, INT4, TEXT = 16, 17, 20, 23, 25
_SHAPES = {BOOL: "?", INT8: ">q", INT4: ">i"}
_EVENT = (INT4, TEXT, BYTES, TEXT, TEXT, INT8)
NAMED = (BYTES, INT8, BOOL, BYTES, BYTES, BYTES, BOOL)
_ROW = (INT4, INT4, BYTES, INT8, *NAMED)
_READ = (INT4, BYTES, INT8)
_ONE_CALL, _CALL, _RULED_CALL = (
    f"SELECT * FROM main.{name}({', '.join(['%s'] * n)})"
    for name, n in ((APPEND_ONE, 15), (APPEND, 22), (APPEND, 26))
)


class Array(bytes):
    """An array as the server reads it. psycopg would take longer to make one than to send it."""


class ArrayDumper(Dumper):
    """Sends an array as it is. Its type is the one that the function takes."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


class Decided(NamedTuple):
    """What a rule made of the rows that it was given, after which event, and by which names.

    Nothing is written if a live row with such a name has a newer event.
    """

    after: int
    owners: Sequence[bytes]
    aliases: Sequence[bytes]
    groups: Sequence[bytes]
    ruled: Verdict
    last: Row | None


class AppendCall:
    """Units that the server can judge: each gives all its rows, with the versions before.

    So none of them is ever written twice, however often the call is made: it conflicts with itself.
    decided: what became of the rule of a single unit.
    """

    def __init__(self, topic: str, batch: Sequence[Unit], decided: Decided | None = None) -> None:
        self._batch = batch
        self.decided = decided
        if decided is None and (put := _only_put(batch)) is not None:
            self._keys = [put.key]
            self.statement: Statement = _one_call(topic, batch[0].changes[0].event, put)
            return
        events: list[Sequence[Any]] = []
        rows: list[Sequence[Any]] = []
        reads: list[Sequence[Any]] = []
        is_shared, written = False, set[bytes]()
        for number, unit in enumerate(batch, 1):
            own = set[bytes]()
            for place, change in enumerate(unit.changes, 1):
                event = units.numbered(change.event, place, len(unit.changes))
                around = chain.around_chain(event.headers)
                at = event.occurred_at_ms
                events.append((number, event.kind.encode(), event.payload, *around, at))
                if change.put is not None:
                    put = change.put
                    rows.append((number, len(events), put.key, put.expected, *named(put.draft)))
                    own.add(put.key)
            reads += [(number, key, version) for key, version in unit.reads]
            is_shared |= not written.isdisjoint([*own, *(key for key, _ in unit.reads)])
            written |= own
        self._keys = [row[2] for row in rows] + [read[1] for read in reads]
        told = (*columns(_EVENT, events), *columns(_ROW, rows), *columns(_READ, reads))
        self.statement = (_CALL, (topic, is_shared, *told))
        if decided is not None:
            after, *names = decided[:4]
            by = [_array(BYTES, of_kind) for of_kind in names]
            self.statement = (_RULED_CALL, (topic, is_shared, *told, after, *by))

    @classmethod
    def of(cls, topic: str, batch: Sequence[Unit], fold: Fold | None) -> AppendCall | None:
        """The call for these units; None where the server can't judge one of them."""
        if fold is None or not all(_is_given(unit, fold) for unit in batch):
            return None
        return cls(topic, batch)

    def outcomes(self, lines: Lines) -> list[Outcome] | None:
        """What an answer means for each unit; None where nothing was done."""
        (_, head, _, must_plan, *_), *refused = lines
        if self.decided is not None and (must_plan or refused):
            return [Conflict()]
        if must_plan:
            return None
        conflicts = {unit: (self._keys[number - 1], row) for unit, number, *row in refused}
        outcomes: list[Outcome] = []
        for number, unit in enumerate(self._batch, 1):
            if number in conflicts:
                key, row = conflicts[number]
                current = None if row[0] is None else queries.stored_rows([row])[0]
                outcomes.append(Conflict(key=key, current=current))
            else:
                outcomes.append(self._appended(head + 1, unit))
                head += len(unit.changes)
        return outcomes

    def has_moved(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether a rule has to be decided again, as its rows changed meanwhile."""
        return self.decided is not None and isinstance(outcomes[0], Conflict)

    def _appended(self, first: int, unit: Unit) -> Appended:
        ids = tuple(range(first, first + len(unit.changes)))
        return Appended(ids) if self.decided is None else Appended(ids, *self.decided[4:])

    def recognized(
        self, outcomes: Sequence[Outcome], next_event: Callable[[Put], StoredEvent | None]
    ) -> list[Outcome]:
        """The outcomes of a call that may have been made before: what conflicts with itself was
        appended. next_event: the event of a key that followed the one that was expected."""
        return [
            (isinstance(outcome, Conflict) and self._own(unit, next_event)) or outcome
            for unit, outcome in zip(self._batch, outcomes, strict=True)
        ]

    def _own(self, unit: Unit, next_event: Callable[[Put], StoredEvent | None]) -> Appended | None:
        """A unit that was appended, as one of its events tells."""
        # An equal event that another process decided on the same version is the same change.
        for place, change in enumerate(unit.changes):
            if change.put is not None and (found := next_event(change.put)) is not None:
                headers = chain.unchained(found.headers)
                told = LogEvent(found.kind, found.payload, headers, found.occurred_at_ms)
                if told == units.numbered(change.event, place + 1, len(unit.changes)):
                    return self._appended(found.id - place, unit)
        return None


def ruled_call(topic: str, unit: Unit, rule: Rule, fold: Fold, select: Select) -> AppendCall | None:
    """The call for a unit; None where the server can't judge it, or where the rule refuses it."""
    sql, values = queries.listing(ROW_COLUMNS, rule.where, rule.after, rule.limit)
    lines = select(listings.with_line(sql), (topic, topic, *values))
    reached, head, mark = lines[0][:3]
    if reached != head or mark or head is None:
        return None
    page = queries.stored_rows(line[3:] for line in lines if line[3] is not None)
    groups = [group.encode() for group in units.groups_of(rule, page)]
    found = select(queries.ROWS_OF_GROUPS, (topic, groups)) if groups else []
    relatives = queries.stored_rows(found)
    rows = {row.key: row for row in (*page, *relatives)}
    state = units.BatchState(Head(head, None), rows)
    ruling = units.ruling_of(rule, page, relatives, state)
    verdict = ruling.decide()
    if verdict is None:
        return None
    changes = [_change(fold, rows.pop(row.key, row), event) for row, event in verdict]
    reads = [(row.key, row.version) for row in rows.values()]
    decided = Unit([*changes, *unit.changes], [*unit.reads, *reads])
    if decided.changes and not _is_given(decided, fold):
        return None
    owner, alias, group = (
        [] if name is None else [name.encode()]
        for name in (rule.where.owner, rule.where.alias, rule.where.group)
    )
    told = Decided(head, owner, alias, [*group, *groups], tuple(verdict), ruling.last)
    return AppendCall(topic, [decided], told)


def _change(fold: Fold, row: Row, event: LogEvent) -> Change:
    draft = fold.evolve(row, event)
    assert draft is not None
    return Change(event, Put(row.key, draft, row.version))


def _is_given(unit: Unit, fold: Fold) -> bool:
    """Whether a unit gives all its rows, each of them once, with a version of each."""
    puts = [change.put for change in unit.changes if change.put is not None]
    versions = [put.expected for put in puts] + [version for _, version in unit.reads]
    others = [change.event for change in unit.changes if change.put is None]
    return (
        unit.rule is None
        and 0 < len(puts) == len({put.key for put in puts})
        and all(version is not None and 0 <= version < units.INT64 for version in versions)
        and not any(one.kind in fold.marks or fold.key(one) is not None for one in others)
    )


def _only_put(batch: Sequence[Unit]) -> Put | None:
    """The row of units that are a single event with its row, and rest on nothing else."""
    is_one = len(batch) == 1 and len(batch[0].changes) == 1 and not batch[0].reads
    return batch[0].changes[0].put if is_one else None


def _one_call(topic: str, event: LogEvent, put: Put) -> Statement:
    before, after = (part.decode() for part in chain.around_chain(event.headers))
    told = (event.kind, event.payload, before, after, event.occurred_at_ms)
    return _ONE_CALL, (topic, *told, put.key, put.expected, *named(put.draft))


def named(row: Row | Draft) -> Sequence[Any]:
    """What the types of `NAMED` are of."""
    names = (None if name is None else name.encode() for name in (row.alias, row.group))
    return row.owner.encode(), row.expires, row.live, row.state, *names, row.replaced


def columns(types: Sequence[int], lines: Sequence[Sequence[Any]]) -> list[Array]:
    """The columns of lines, as arrays. Texts are given as bytes."""
    turned = zip(*lines, strict=True) if lines else [()] * len(types)
    return [_array(of, column) for of, column in zip(types, turned, strict=True)]


def _array(of: int, values: Sequence[Any]) -> Array:
    """In the server's binary format: dimensions, nulls, type, then the length and first index."""
    shape, parts = _SHAPES.get(of), [pack(">iiiii", 1, None in values, of, len(values), 1)]
    for value in values:
        raw = value if shape is None or value is None else pack(shape, value)
        parts.append(pack(">i", -1) if raw is None else pack(">i", len(raw)) + raw)
    return Array(b"".join(parts))
