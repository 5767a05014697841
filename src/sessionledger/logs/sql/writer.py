"""What is done to a topic within a write transaction, whatever the database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec

from sessionledger.errors import InvalidEvent
from sessionledger.logs import chain, units
from sessionledger.logs.base import Fold, Outcome, Row, RowFilter, Rule, StoredEvent, Unit
from sessionledger.logs.compaction.contract import (
    Cut,
    Rewriting,
    decode_row,
    encode_row,
    refuse_behind,
)
from sessionledger.logs.marks import Mark, id_of, mark_of
from sessionledger.logs.sql import statements

if TYPE_CHECKING:  # few ledgers are copied
    from sessionledger.logs.compaction.transfer import Transfer

Rows: TypeAlias = dict[bytes, Row]

Select: TypeAlias = Callable[..., list[Any]]
"""All lines of a statement, given with its values."""

_KEYS_A_STATEMENT = 64
FOLD_PAGE = 1000


class TopicLine(msgspec.Struct, frozen=True, gc=False):
    """A topic, its number in the tables, up to where its rows are folded, its head and its mark.

    mark: the id of its event, 0 for none. cut: the last event that was removed, 0 for none. xid:
    the number of the transaction that has the line, if the database has such numbers.
    """

    topic: str
    number: int
    folded: int
    head: int
    mark: int
    cut: int
    xid: str = ""


class Writer(ABC):
    """Reads and writes within a transaction."""

    _put_base: ClassVar = statements.PUT_BASE
    _job: ClassVar = statements.JOB

    @abstractmethod
    def line(self, topic: str) -> TopicLine:
        """The line of a topic, which nobody else writes from here on."""

    def job(self) -> str | None:
        """Who maintains the ledger. Nobody takes over before this transaction ends."""
        found = self.select(self._job)
        return str(found[0][0]) if found else None

    @abstractmethod
    def then(self, sql: str, *values: Any) -> None:
        """Write something, with the commit at the latest."""

    @abstractmethod
    def _events(self, topic: str, after: int, until: int) -> list[StoredEvent]:
        """The events above one id and up to another, at most `FOLD_PAGE` of them."""

    @abstractmethod
    def rows_of_keys(self, line: TopicLine, keys: Collection[bytes]) -> Rows:
        """The rows of these keys, as far as there are any."""

    @abstractmethod
    def _store_folded(self, line: TopicLine, known: Rows, plan: units.Plan, until: int) -> None:
        """Store the rows of a plan, and up to where they are folded; `known`: those before it."""

    @abstractmethod
    def _set_mark(self, line: TopicLine, mark: int) -> None:
        """Store the id of the mark that is in force, 0 for none."""

    @abstractmethod
    def put_rows(self, line: TopicLine, rows: Sequence[Row]) -> None:
        """Store rows whose keys have no new event."""

    @abstractmethod
    def set_cut(self, line: TopicLine, cut: Cut) -> None:
        """Store up to where events are removed. Only this program appends from here on."""

    def remove_events(self, line: TopicLine, after: int, until: int) -> None:
        """Delete the events after one of them, up to another."""
        self.then(statements.REMOVE_EVENTS, line.topic, after, until)

    def remove_superseded(self, line: TopicLine, after: bytes, last: bytes) -> None:
        """Delete what newer entries replaced in the base, for keys above one and up to another."""
        self.then(statements.REMOVE_SUPERSEDED, line.number, after, last, line.cut, line.cut)

    def forget(self, line: TopicLine, keys: Sequence[bytes], fold: Fold) -> None:
        """Delete rows and entries of keys that the base does not know any more."""
        known = self.rows_of_keys(line, keys)
        # What another program appended meanwhile stays, and is folded without what was before.
        late = {key for key, row in known.items() if row.version > line.cut}
        marks = ",".join("?" * len(keys))
        self.then(statements.FORGET_ROWS.format(marks), line.number, *keys)
        self.then(statements.FORGET_ENTRIES.format(marks), line.number, *keys, line.cut)
        rows, after = dict[bytes, Row](), line.cut
        while late and (events := self._events(line.topic, after, line.folded)):
            units.refold(fold, (event for event in events if fold.key(event) in late), rows, None)
            after = events[-1].id
        self.put_rows(line, list(rows.values()))

    @abstractmethod
    def add_events(self, line: TopicLine, events: Sequence[StoredEvent]) -> None:
        """Store events as they are, without rows."""

    def extend(self, topic: str, events: Sequence[StoredEvent]) -> None:
        """As in `CopyableLog`."""
        line = self.line(topic)
        refuse_behind(topic, line.head, events)
        self.add_events(line, events)

    def rebase(self, topic: str, transfer: Transfer) -> None:
        """As in `CopyableLog`."""
        line, cut = self.line(topic), transfer.cut
        self._drop(line)  # before the cut is stored: so the rows have yet to begin at the base
        self.then(statements.REMOVE_BASE, line.number)
        for rows in transfer.base():
            self.put_base(line, cut.id, {row.key: row for row in rows})
        self.set_cut(line, cut)
        self.remove_events(line, 0, cut.id)

    def alone(self, work: Callable[[], None]) -> None:
        """Do something while nobody else writes to any topic, and everybody reads."""
        work()

    @abstractmethod
    def leave(self, to: str) -> None:
        """Let nobody read or write the ledger any more, and name the address `to` to them."""

    def put_base(self, line: TopicLine, generation: int, rows: Mapping[bytes, Row | None]) -> None:
        """Store entries of a generation of the base; None for a key that is to be forgotten."""
        for key, row in rows.items():
            entry = statements.NO_ENTRY if row is None else encode_row(row)
            self.then(self._put_base, line.number, key, generation, entry)

    def replace_events(self, topic: str, events: Sequence[StoredEvent]) -> None:
        """Store events in the place of those with the same ids."""
        for event in events:
            headers = chain.encode_headers(event.headers).decode()
            content = (event.kind, event.payload, headers, event.occurred_at_ms)
            self.then(statements.REPLACE_EVENT, *content, topic, event.id)

    def rewrite_rows(self, topic: str, fold: Fold, rewriting: Rewriting) -> None:
        """Replace rows, entries of the base, and seals."""
        self.fold_gap(topic, fold)
        line = self.line(topic)
        rows = self.rows_of_keys(line, rewriting.keys)
        self.put_rows(line, [rewriting.row(row) for row in rows.values()])
        for key in rewriting.keys:
            for generation, entry in self.select(statements.ENTRIES_OF_KEY, line.number, key):
                if entry != statements.NO_ENTRY:
                    row = rewriting.row(decode_row(entry))
                    self.put_base(line, generation, {key: row})
        self.replace_events(topic, rewriting.seals)

    @abstractmethod
    def select(self, sql: str, *values: Any) -> list[Any]:
        """All lines of a statement."""

    @abstractmethod
    def _drop(self, line: TopicLine) -> None:
        """Delete the rows and links. Store that nothing above the cut is folded, and no mark is in
        force: a cut is never between a mark and what lifts it."""

    def mark(self, line: TopicLine, fold: Fold | None) -> Mark | None:
        """The mark that is in force, for a log that has the topic's fold."""
        if not line.mark or fold is None:
            return None
        return mark_of(line.mark, self._events(line.topic, line.mark - 1, line.mark), fold)

    def move_mark(self, line: TopicLine, before: Mark | None, plan: units.Plan) -> None:
        """Store the mark that is in force after a plan."""
        if plan.mark is not before:
            self._set_mark(line, id_of(plan.mark))

    @abstractmethod
    def listed(self, line: TopicLine, where: RowFilter) -> list[Row]:
        """All rows that match."""

    def write(self, topic: str, batch: Sequence[Unit], fold: Fold | None) -> list[Outcome]:
        """Judge the units and store those that may be written."""
        line, state = self._load(topic, batch, fold)
        if line.cut and fold is None:
            raise InvalidEvent(f"{topic!r} was compacted, and needs its fold: fold_with()")
        if fold is not None and line.folded != line.head:
            self.fold_gap(topic, fold)
            line, state = self._load(topic, batch, fold)
        state.mark = mark = self.mark(line, fold)
        known = dict(state.rows)
        plan = units.plan(topic, batch, fold, state)
        if plan.events:
            self._add(line, plan.events)
            if fold is not None:
                self._store_folded(line, known, plan, plan.head.id)
                self.move_mark(line, mark, plan)
        return plan.outcomes

    @abstractmethod
    def _load(
        self, topic: str, batch: Sequence[Unit], fold: Fold | None
    ) -> tuple[TopicLine, units.BatchState]:
        """The line of a topic, and what the units are judged by."""

    @abstractmethod
    def _add(self, line: TopicLine, events: Sequence[StoredEvent]) -> None:
        """Store new events, and the head after them."""

    def fold_gap(self, topic: str, fold: Fold) -> None:
        """Fold what was appended without rows, all of it."""
        while self.fold_page(topic, fold):
            pass

    def fold_page(self, topic: str, fold: Fold) -> int:
        """Fold the next events that have no rows yet; how many those were.

        If others ended something that takes more along, all the rest is folded first. What is
        appended then comes after whatever has happened to its keys.
        """
        done, rules = self._fold_page(topic, fold)
        if rules:
            page = done
            while page:
                page, more = self._fold_page(topic, fold)
                done, rules = done + page, rules + more
            self.write(topic, [Unit(rule=rule) for rule in rules], fold)
        return done

    def _fold_page(self, topic: str, fold: Fold) -> tuple[int, list[Rule]]:
        line = self.line(topic)
        units.refuse_shortened(topic, line.folded, line.head)
        if line.folded < line.cut:
            self._begin_at_base(line)
            line = self.line(topic)
        if line.head == line.folded:
            return 0, []
        events = self._events(topic, line.folded, line.head)
        mark = self.mark(line, fold)
        rows = self.rows_of_keys(
            line, {key for event in events if (key := fold.key(event)) is not None}
        )
        known = dict(rows)
        plan = units.refold(fold, events, rows, mark)
        until = events[-1].id if len(events) == FOLD_PAGE else line.head
        self._store_folded(line, known, plan, until)
        self.move_mark(line, mark, plan)
        rules = units.aftermaths(fold, plan.rows.values(), partial(self.listed, line))
        return len(events), rules

    def drop_rows(self, topic: str) -> None:
        """Forget the rows of a topic and that anything was folded into them."""
        line = self.line(topic)
        units.refuse_shortened(topic, line.folded, line.head)
        self._begin_at_base(line)

    def _begin_at_base(self, line: TopicLine) -> None:
        self._drop(line)
        after = b""
        while rows := base_page(self.select, line.number, line.cut, after, FOLD_PAGE):
            self.put_rows(line, rows)
            after = rows[-1].key


def base_page(select: Select, number: int, generation: int, after: bytes, limit: int) -> list[Row]:
    """The rows of the base of a topic behind a key, as of a generation."""
    values = (number, after, generation, generation, limit)
    return [decode_row(entry) for (entry,) in select(statements.BASE_AFTER, *values)]


def base_rows(
    select: Select, number: int, generation: int, keys: Collection[bytes]
) -> dict[bytes, Row]:
    """The rows of these keys in the base of a topic, as of a generation."""
    rows: dict[bytes, Row] = {}
    listed = list(keys)
    for start in range(0, len(listed), _KEYS_A_STATEMENT):
        few = listed[start : start + _KEYS_A_STATEMENT]
        sql = statements.BASE_OF_KEYS.format(",".join("?" * len(few)))
        for (entry,) in select(sql, number, *few, generation, generation):
            row = decode_row(entry)
            rows[row.key] = row
    return rows
