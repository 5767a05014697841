"""Rows in an order that is kept lazily: whatever happens to them, the walk is that of a sort."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import Row, RowFilter
from sessionledger.logs.base import OVER
from sessionledger.logs.chain import EMPTY
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.embedded.sorted_index import SortedIndex
from sessionledger.logs.units import Link, Plan

keys = st.integers(0, 30).map(lambda n: bytes([n]))
changes = st.tuples(keys, st.integers(0, 4), st.booleans())


def position(row: Row) -> tuple[int, bytes] | None:
    return (row.expires, row.key) if row.live else None


def row_of(key: bytes, expires: int, live: bool, version: int = 1, owner: str = "a") -> Row:
    return Row(key, version, 1, owner, expires, live, b"")


@given(
    st.lists(st.lists(changes, max_size=12), max_size=8),
    st.none() | st.tuples(st.integers(0, 4), keys),
)
def test_a_walk_is_a_sort(
    batches: list[list[tuple[bytes, int, bool]]], after: tuple[int, bytes] | None
) -> None:
    order, rows = SortedIndex(position), dict[bytes, Row]()
    for batch in batches:
        for key, expires, live in batch:
            row = row_of(key, expires, live)
            order.move(rows.get(key), row)
            rows[key] = row
        walked = [p for p in order.walk(rows.values(), after) if position(rows[p[1]]) == p]
        expected = sorted(p for row in rows.values() if (p := position(row)) is not None)
        assert walked == [p for p in expected if after is None or p > after]


@pytest.mark.parametrize("size", [10, 500])
def test_leftovers_do_not_pile_up(size: int) -> None:
    order, row = SortedIndex(position), row_of(b"k", 0, live=True)
    others = [row_of(n.to_bytes(4, "big"), n, live=True) for n in range(size)]
    for end in range(1, 3 * size):
        list(order.walk([*others, row], None))
        moved = row_of(b"k", end, live=True)
        order.move(row, moved)
        row = moved
    assert len(list(order.walk([*others, row], None))) <= 2 * size + 2


rows_told = st.tuples(
    keys, st.sampled_from("ab"), st.sampled_from(["x", "y", None]), st.integers(0, 4), st.booleans()
)


def listed(table: RowTable, **which: Any) -> list[Row]:
    """All of them, page by page."""
    found: list[Row] = []
    while page := table.list(RowFilter(**which), found[-1] if found else None, 3):
        found += page
    return found


def fits(row: Row, owner: str | None, alias: str | None, live_at: int | None) -> bool:
    named = owner in (None, row.owner) and alias in (None, row.alias)
    return named and (live_at is None or (row.live and row.expires > live_at))


@given(st.lists(rows_told, max_size=25))
def test_a_table_answers_as_its_rows_do(
    told: list[tuple[bytes, str, str | None, int, bool]],
) -> None:
    table, rows = RowTable(), dict[bytes, Row]()
    history: dict[bytes, list[int]] = {}
    for id, (key, owner, alias, expires, live) in enumerate(told, 1):
        before = rows.get(key)
        created = id if before is None else before.created
        rows[key] = row = Row(key, id, created, owner, expires, live, b"s", alias)
        link = Link(id, key, 0 if before is None else before.version)
        table.store(Plan([], [], {key: row}, [link], EMPTY))
        history.setdefault(key, []).append(id)
        if id % 3 == 0:
            check_listings(table, rows)
    check_listings(table, rows)
    for key, row in rows.items():
        assert table.state(key) == (row.version, row.expires if row.live else OVER, b"s")
        assert list(table.history(key, 0, 99)) == history[key]
        assert list(table.history(key, history[key][0], 2)) == history[key][1:3]


def check_listings(table: RowTable, rows: dict[bytes, Row]) -> None:
    for owner, alias, live_at in product((None, "a", "c"), (None, "x"), (None, 2)):
        which: dict[str, Any] = {"owner": owner, "alias": alias, "live_at": live_at}
        fitting = [row for row in rows.values() if fits(row, owner, alias, live_at)]
        ordered = sorted(fitting, key=lambda row: row.created)
        if owner is None and alias is None:
            ordered = sorted(fitting, key=lambda row: row.key)
        assert listed(table, **which) == ordered
        over = [row for row in fitting if row.live and row.expires < 3]
        ending = sorted(over, key=lambda row: (row.expires, row.key))
        assert listed(table, **which, expires_before=3) == ending
        assert table.count(RowFilter(**which)) == len(fitting)
