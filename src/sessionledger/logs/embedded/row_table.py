"""The rows of one topic in memory, for logs that keep them there: guarded by the log's lock."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import merge
from itertools import islice, takewhile
from typing import Any

import msgspec

from sessionledger.logs import units
from sessionledger.logs.base import (
    ALL_ROWS,
    OVER,
    Conflict,
    Fold,
    KeyState,
    Row,
    RowFilter,
    Rule,
    StoredEvent,
    Unit,
)
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.contract import FORGOTTEN, Reduction, Remains
from sessionledger.logs.embedded.sorted_index import Position, SortedIndex, places
from sessionledger.logs.marks import Mark, matching
from sessionledger.logs.units import BatchState, Link, Plan


class RowTable:
    """Every key's newest state, found by key, by owner, in the order of keys or of their ends.

    mark: the one in force, which is applied to whatever is read.
    due: what is to be decided after events that came without rows; empty where nothing is.
    doubt: an event before this id is lost, and may have ended any row. Live rows without an event
    from this id on can't be read. shown: how many keys of events are known that were just lost.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        # As they are stored.
        self.rows: dict[bytes, Row] = {}
        self.mark: Mark | None = None
        self.due: tuple[Rule, ...] = ()
        self.doubt = self.shown = 0
        self._by_owner = _KeysByName(self.rows)
        self._by_alias = _KeysByName(self.rows)
        self._by_group = _KeysByName(self.rows)
        # Only of keys with several events: that of the others is the one that created them.
        self._events: dict[bytes, array[int]] = {}
        self._by_key = SortedIndex(_key)
        self._by_end = SortedIndex(_end)
        self._by_creation = SortedIndex(_creation)
        for row in rows:
            self._put(row)

    # -- changing

    def batch_state(self, head: Head, batch: Iterable[Unit], fold: Fold | None) -> BatchState:
        """What a batch starts from."""
        keys = units.keys_of(batch, fold)
        stored = {key: self.rows[key] for key in keys if key in self.rows}
        rows = {key: self._believed(row) for key, row in stored.items()}
        doubted = {key: row for key, row in stored.items() if rows[key] is not row}
        refuse = partial(_refused, doubted, rows, fold) if doubted else None
        rules = units.rules_of(batch)
        pages = [self.list(r.where, r.after, r.limit) for r in rules]
        relatives = [
            [row for group in units.groups_of(rule, page) for row in self._live_of_group(group)]
            for rule, page in zip(rules, pages, strict=True)
        ]
        return BatchState(head, rows, pages, relatives, mark=self.mark, refuse=refuse)

    def _live_of_group(self, group: str) -> Iterator[Row]:
        return self._by_group.walk(group, None, True, backwards=False)

    def fold(self, fold: Fold, events: Iterable[StoredEvent]) -> None:
        """Take in events that came without rows."""
        plan = units.refold(fold, events, _Newest(self.rows), self.mark)
        self.store(plan)
        if due := units.aftermaths(fold, plan.rows.values(), self._all):
            self.due = (*self.due, *due)

    def aftermath(self) -> list[Unit]:
        """What is still due after events that came without rows."""
        self.due = tuple(rule for rule in self.due if rule.decide(self._all(rule.where)))
        return [Unit(rule=rule) for rule in self.due]

    def _all(self, where: RowFilter) -> Sequence[Row]:
        return self.list(where, None, None)

    def store(self, plan: Plan) -> None:
        """Take in what was planned."""
        self.mark = plan.mark
        for row in plan.rows.values():
            self._put(row)
        for link in plan.links:
            if link.previous:
                self._remember(link)

    def remove_events(self, cut: int, base: Iterable[Row]) -> None:
        """The events up to a cut were removed: rows without a later event are those of the base."""
        kept = set[bytes]()
        for row in base:
            kept.add(row.key)
            current = self.rows.get(row.key)
            if current is not None and current.version == row.version and current != row:
                self._put(row)
            known = self._events.get(row.key)
            if known is not None:
                del known[: bisect_right(known, cut)]
                if not known:
                    del self._events[row.key]
        gone = [row for row in self.rows.values() if row.version <= cut and row.key not in kept]
        for row in gone:
            self._remove(row)
        if gone:  # no order has their positions any more
            self._by_key, self._by_end = SortedIndex(_key), SortedIndex(_end)
            self._by_creation = SortedIndex(_creation)

    def _remove(self, row: Row) -> None:
        self._by_owner.move(row, row.owner, None, row.live)
        self._by_alias.move(row, row.alias, None, row.live)
        self._by_group.move(row, row.group, None, row.live)
        self._events.pop(row.key, None)
        del self.rows[row.key]

    def _put(self, row: Row) -> None:
        before = self.rows.get(row.key)
        self.rows[row.key] = row
        was = (None,) * 3 if before is None else (before.owner, before.alias, before.group)
        was_live = before is not None and before.live
        self._by_owner.move(row, was[0], row.owner, was_live)
        self._by_alias.move(row, was[1], row.alias, was_live)
        self._by_group.move(row, was[2], row.group, was_live)
        self._by_key.move(before, row)
        self._by_end.move(before, row)
        self._by_creation.move(before, row)

    def _remember(self, link: Link) -> None:
        known = self._events.get(link.key)
        if known is None:
            known = self._events[link.key] = array("q", [link.previous])
        known.append(link.id)

    # -- asking

    def state(self, key: bytes) -> KeyState | None:
        """What `Log.state` answers."""
        row = self.rows.get(key)
        if row is None:
            return None
        if self.mark is not None or row.version < self.doubt:
            row = self._as_read(row)
        return (row.version, row.expires if row.live else OVER, row.state)

    def row(self, key: bytes) -> Row | None:
        """What `Log.row` answers."""
        row = self.rows.get(key)
        return None if row is None else self._as_read(row)

    def _as_read(self, row: Row) -> Row:
        return self._believed(row if self.mark is None else self.mark.apply(row))

    def _believed(self, row: Row) -> Row:
        """The row, with a state that nobody can read if it is in doubt."""
        if row.live and row.version < self.doubt:
            return msgspec.structs.replace(row, state=b"")
        return row

    def history(self, key: bytes, after: int, limit: int) -> Sequence[int]:
        """The ids of the key's events above `after`, in order, at most `limit` of them."""
        row = self.rows.get(key)
        ids: Sequence[int] = () if row is None else self._events.get(key, (row.created,))
        start = bisect_right(ids, after)
        return ids[start : start + limit]

    def count(self, where: RowFilter) -> int:
        """What `Log.count` answers."""
        if where == ALL_ROWS:
            return len(self.rows)
        rows = self._named(where, None) if where.is_named else self.rows.values()
        return sum(1 for _ in matching(self.mark, rows, where))

    def list(self, where: RowFilter, after: Row | None, limit: int | None) -> list[Row]:
        """What `Log.rows` answers."""
        rows = self._ordered(where, after)
        end, created_after = where.expires_before, where.created_after
        if end is not None and not where.newest_first:
            rows = takewhile(lambda row: row.expires < end, rows)
        elif created_after is not None and where.by_creation and where.newest_first:
            rows = takewhile(lambda row: row.created > created_after, rows)
        found = islice(matching(self.mark, rows, where), limit)
        return [self._believed(row) for row in found] if self.doubt else list(found)

    def _ordered(self, where: RowFilter, after: Row | None) -> Iterator[Row]:
        """The rows of those names, or all, behind one of them, in the order that is asked for."""
        backwards = where.newest_first
        if not where.is_named:
            return self._in_order(where, after)
        if not where.by_end:
            return self._named(where, after, backwards=backwards)
        named = sorted(self._named(where, None), key=where.position)
        position = None if after is None else where.position(after)
        return (named[i] for i in places(named, position, where.position, backwards=backwards))

    def _named(
        self, where: RowFilter, after: Row | None, *, backwards: bool = False
    ) -> Iterator[Row]:
        by, name = self._by_owner, where.owner
        if where.alias is not None:
            by, name = self._by_alias, where.alias
        if where.group is not None:
            by, name = self._by_group, where.group
        return by.walk(name or "", after, where.live_at is not None, backwards=backwards)

    def _in_order(self, where: RowFilter, after: Row | None) -> Iterator[Row]:
        order, behind = self._by_key, None if after is None else _key(after)
        if where.by_end:
            order, behind = self._by_end, None if after is None else _end_of(after)
            if where.newest_first and behind is None and where.expires_before is not None:
                behind = (where.expires_before, b"")
        elif where.by_creation:
            order, behind = self._by_creation, None if after is None else _creation(after)
        positions = order.walk(self.rows.values(), behind, backwards=where.newest_first)
        for position in positions:
            row = self.rows[position if order is self._by_key else position[1]]
            if order.position(row) == position:
                yield row


def fold_base(
    fold: Fold, base: Mapping[bytes, Row], events: Iterable[StoredEvent]
) -> dict[bytes, Row]:
    """The base after some more events, in the order of its keys."""
    rows = dict(base)
    units.refold(fold, events, rows, None)
    return dict(sorted(rows.items()))


def reduce_base(base: dict[bytes, Row], table: RowTable, remains: Remains) -> Reduction:
    """Replace each row that is over, and has no later event, by what remains."""
    replaced = forgotten = 0
    for key, row in list(base.items()):
        current = table.rows.get(key)
        if row.live or (current is not None and current.version != row.version):
            continue
        active: list[Row] = []
        if row.group is not None:
            active = table.list(RowFilter(group=row.group, live_at=OVER), None, None)
        left = remains(row, active)
        if left == FORGOTTEN:
            del base[key]
            forgotten += 1
        elif left is not None:
            base[key] = Row.of(key, row.version, row.created, left)
            replaced += 1
    return Reduction(replaced, forgotten)


class _KeysByName:
    """The keys of each name, live ones and others, in the order in which they were created."""

    def __init__(self, rows: Mapping[bytes, Row]) -> None:
        self._rows = rows
        self._keys: dict[tuple[str, bool], list[bytes]] = {}

    def move(self, row: Row, before: str | None, after: str | None, was_live: bool) -> None:
        """A row is new, has another name, or has ended."""
        if before == after and was_live == row.live:
            return
        if before is not None:
            keys = self._keys[before, was_live]
            del keys[bisect_left(keys, row.created, key=self._created)]
        if after is not None:
            self._insert(self._keys.setdefault((after, row.live), []), row.key)

    def _insert(self, keys: list[bytes], key: bytes) -> None:
        # Nearly always the newest, and then nothing is to be searched.
        if not keys or self._created(keys[-1]) < self._created(key):
            keys.append(key)
        else:
            insort(keys, key, key=self._created)

    def walk(self, name: str, after: Row | None, live: bool, *, backwards: bool) -> Iterator[Row]:
        """The rows behind one of them, or before it: live ones, or all."""
        behind = None if after is None else after.created
        rows = self._walk(name, behind, is_live=True, backwards=backwards)
        if live:
            return rows
        others = self._walk(name, behind, is_live=False, backwards=backwards)
        return merge(rows, others, key=lambda row: row.created, reverse=backwards)

    def _walk(
        self, name: str, behind: int | None, *, is_live: bool, backwards: bool
    ) -> Iterator[Row]:
        keys = self._keys.get((name, is_live), [])
        found = places(keys, behind, self._created, backwards=backwards)
        return (self._rows[keys[index]] for index in found)

    def _created(self, key: bytes) -> int:
        return self._rows[key].created


class _Newest(dict[bytes, Row]):
    """Rows that are being folded, over those that were there before."""

    def __init__(self, before: dict[bytes, Row]) -> None:
        super().__init__()
        self._before = before

    def get(self, key: bytes, default: Any = None) -> Any:
        return super().get(key) or self._before.get(key, default)


def _refused(
    doubted: Mapping[bytes, Row], rows: Mapping[bytes, Row], fold: Fold | None, unit: Unit
) -> Conflict | None:
    """A row in doubt may be ended. No other event of it is written, and none that rests on it."""
    keys = [key for key, _ in unit.reads if key in doubted]
    for change in unit.changes:
        for key in units.keys_of([Unit((change,))], fold):
            draft = None
            if fold is not None and key in doubted:
                draft = fold.evolve(doubted[key], change.event)
            keys += [key] if draft is not None and draft.live else []
    return Conflict(key=keys[0], current=rows[keys[0]]) if keys else None


def _key(row: Row) -> Position:
    return row.key


def _end(row: Row) -> Position | None:
    return (row.expires, row.key) if row.live else None


def _creation(row: Row) -> Position:
    return (row.created, row.key)


def _end_of(row: Row) -> Position:
    return (row.expires, row.key)
