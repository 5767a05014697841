"""Pages of rows and of a key's history: in the order that is promised, each row once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sessionledger.logs.base import ALL_ROWS, OVER, Log, Row, RowFilter
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import TOPIC, Ledger, add, event, every_event, rows_of

happenings = st.lists(
    st.fixed_dictionaries(
        {
            "owner": st.sampled_from("ab"),
            "alias": st.sampled_from(["x", "y", None]),
            "group": st.sampled_from(["x", "y", None]),
            "expires": st.integers(-3, 3),
            "live": st.booleans(),
            "replaced": st.booleans(),
        }
    ),
    min_size=1,
    max_size=12,
)


def pages(ask: Callable[[Row | None], list[Row]], size: int) -> list[Row]:
    """All rows of a listing, taken page by page."""
    found: list[Row] = []
    while page := ask(found[-1] if found else None):
        assert len(page) <= size
        found += page
    return found


def assert_pages_tell_all(log: Log, size: int, instant: int) -> None:
    """Every listing, taken in pages, tells what the events fold to."""
    rows = rows_of(every_event(log)).values()
    middle = log.latest(TOPIC) // 2
    listings: list[tuple[RowFilter, Callable[[Row], Any]]] = [
        (ALL_ROWS, by_key),
        (RowFilter(live_at=instant), by_key),
        (RowFilter(live_at=instant, replaced=False), by_key),
        (RowFilter(replaced=False), by_key),
        (RowFilter(owner="a", replaced=False), by_creation),
        (RowFilter(alias="x", live_at=instant, replaced=False), by_creation),
        (RowFilter(owner="a"), by_creation),
        (RowFilter(owner="a", live_at=instant), by_creation),
        (RowFilter(alias="x"), by_creation),
        (RowFilter(alias="x", owner="a", live_at=instant), by_creation),
        (RowFilter(group="x"), by_creation),
        (RowFilter(group="x", live_at=OVER), by_creation),
        (RowFilter(group="x", alias="x", owner="a", live_at=instant), by_creation),
        (RowFilter(expires_before=instant), by_end),
        (RowFilter(owner="a", expires_before=instant), by_end),
        (RowFilter(over=True), by_key),
        (RowFilter(over=True, owner="a"), by_creation),
        (RowFilter(created_after=middle), by_creation),
        (RowFilter(created_after=middle, live_at=instant), by_creation),
        (RowFilter(created_after=middle, over=True, alias="x"), by_creation),
    ]
    turned = [replace(where, newest_first=True) for where, _ in listings]
    orders = {where: by_end if where.by_end else by_creation for where in turned}
    for where, order in (*listings, *orders.items()):
        among = (row for row in rows if is_among(row, where))
        expected = sorted(among, key=order, reverse=where.newest_first)
        told = pages(lambda after, w=where: log.rows(TOPIC, w, after, size), size)  # type: ignore[misc]
        assert told == expected, where
        assert log.count(TOPIC, where) == len(expected), where


def is_among(row: Row, where: RowFilter) -> bool:
    """Whether a listing has the row, by the words of the contract."""
    return (
        (where.owner is None or row.owner == where.owner)
        and (where.alias is None or row.alias == where.alias)
        and (where.group is None or row.group == where.group)
        and (where.replaced or not row.replaced)
        and (where.live_at is None or (row.live and row.expires > where.live_at))
        and (where.expires_before is None or (row.live and row.expires < where.expires_before))
        and (not where.over or not row.live)
        and (where.created_after is None or row.created > where.created_after)
    )


def by_key(row: Row) -> bytes:
    """The order of all rows."""
    return row.key


def by_creation(row: Row) -> int:
    """The order of one owner's rows, or of those with one alias or group."""
    return row.created


def by_end(row: Row) -> tuple[int, bytes]:
    """The order of rows that end before an instant."""
    return row.expires, row.key


class ListingConformance(Conformance):
    """Every order pages without gap or overlap."""

    # Rows pile up over the examples; whatever is there, the pages must tell all of it. The suite
    # is inherited by several classes, which is what the second check is wary of.
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
        ],
    )
    @given(happenings, st.integers(1, 4), st.integers(-3, 3))
    def test_every_order_pages_without_gap_or_overlap(
        self, ledger: Ledger, told: list[dict[str, Any]], size: int, instant: int
    ) -> None:
        begin = ledger.log.latest(TOPIC)
        keys = [bytes([n * 37 % 256, begin % 251, begin // 251 % 256]) for n in range(len(told))]
        add(ledger.log, [event(key, **one) for key, one in zip(keys, told, strict=True)])
        assert_pages_tell_all(ledger.log, size, instant)

    def test_the_history_of_a_key_comes_in_pages(self, ledger: Ledger) -> None:
        keys = [b"even", b"odd"]
        add(ledger.log, [event(keys[n % 2], n=n) for n in range(20)])
        first = ledger.log.read_key(TOPIC, keys[1], limit=4)
        rest = ledger.log.read_key(TOPIC, keys[1], first[-1].id)
        assert len(first) == 4
        assert [one.value["n"] for one in first + rest] == list(range(1, 20, 2))
