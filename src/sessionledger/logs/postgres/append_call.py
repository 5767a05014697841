"""An append as one call of a function of the server, which judges, numbers and chains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import pack
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

from sessionledger.logs import chain, units
from sessionledger.logs.base import (
    Appended,
    Conflict,
    Draft,
    Fold,
    LogEvent,
    Outcome,
    Put,
    Row,
    StoredEvent,
    Unit,
)
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Lines, Statement
from sessionledger.logs.postgres.functions import APPEND

# Types of elements, as PostgreSQL numbers types, and how those of a fixed size are packed.
BOOL, BYTES, INT8, INT4, TEXT = 16, 17, 20, 23, 25
_SHAPES = {BOOL: "?", INT8: ">q", INT4: ">i"}
_EVENT = (INT4, TEXT, BYTES, TEXT, TEXT, INT8)
NAMED = (BYTES, INT8, BOOL, BYTES, BYTES, BYTES, BOOL)
_ROW = (INT4, INT4, BYTES, INT8, *NAMED)
_READ = (INT4, BYTES, INT8)
_CALL = f"SELECT * FROM main.{APPEND}({', '.join(['%s'] * 22)})"


class Array(bytes):
    """An array as the server reads it. psycopg would take longer to make one than to send it."""


class ArrayDumper(Dumper):
    """Sends an array as it is. Its type is the one that the function takes."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


class AppendCall:
    """Units that the server can judge: each gives all its rows, with the versions before.

    So none of them is ever written twice, however often the call is made: it conflicts with itself.
    """

    def __init__(self, topic: str, batch: Sequence[Unit]) -> None:
        self._batch = batch
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
        self.statement: Statement = (_CALL, (topic, is_shared, *told))

    @classmethod
    def of(cls, topic: str, batch: Sequence[Unit], fold: Fold | None) -> AppendCall | None:
        """The call for these units; None where the server can't judge one of them."""
        if fold is None or not all(_is_given(unit, fold) for unit in batch):
            return None
        return cls(topic, batch)

    def outcomes(self, lines: Lines) -> list[Outcome] | None:
        """What an answer means for each unit; None where nothing was done."""
        (_, head, _, must_plan, *_), *refused = lines
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
                first, head = head + 1, head + len(unit.changes)
                outcomes.append(Appended(tuple(range(first, head + 1))))
        return outcomes

    def recognized(
        self, outcomes: Sequence[Outcome], next_event: Callable[[Put], StoredEvent | None]
    ) -> list[Outcome]:
        """The outcomes of a call that may have been made before: what conflicts with itself was
        appended. next_event: the event of a key that followed the one that was expected."""
        return [
            (isinstance(outcome, Conflict) and _own(unit, next_event)) or outcome
            for unit, outcome in zip(self._batch, outcomes, strict=True)
        ]


def _own(unit: Unit, next_event: Callable[[Put], StoredEvent | None]) -> Appended | None:
    """A unit that was appended, as one of its events tells."""
    # An equal event that another process decided on the same version is the same change.
    total = len(unit.changes)
    for place, change in enumerate(unit.changes):
        if change.put is not None and (found := next_event(change.put)) is not None:
            headers = chain.unchained(found.headers)
            told = LogEvent(found.kind, found.payload, headers, found.occurred_at_ms)
            if told == units.numbered(change.event, place + 1, total):
                return Appended(tuple(range(found.id - place, found.id - place + total)))
    return None


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
