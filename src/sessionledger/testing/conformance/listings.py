"""Pages of rows and of a key's history: in the order that is promised, each row once."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionledger.logs.base import Log, Row
from sessionledger.testing.bench import TOPIC, Bench, add, event, every_event, rows_of
from sessionledger.testing.conformance.bases import Conformance

ends = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-3, 3), st.booleans()), min_size=1, max_size=12
)


def pages(
    log: Log,
    size: int,
    *,
    owner: str | None = None,
    live_at: int | None = None,
    expires_before: int | None = None,
) -> list[Row]:
    """All rows of a listing, taken page by page."""
    found: list[Row] = []
    while True:
        page = log.rows(
            TOPIC,
            owner=owner,
            live_at=live_at,
            expires_before=expires_before,
            after=found[-1] if found else None,
            limit=size,
        )
        assert len(page) <= size
        if not page:
            return found
        found += page


def assert_pages_tell_all(log: Log, size: int, instant: int) -> None:
    """Every listing, taken in pages, tells what the events fold to."""
    rows = rows_of(every_event(log)).values()
    live = [row for row in rows if row.live and row.expires > instant]
    over = [row for row in rows if row.live and row.expires < instant]
    assert pages(log, size) == sorted(rows, key=lambda row: row.key)
    assert pages(log, size, live_at=instant) == sorted(live, key=lambda row: row.key)
    assert pages(log, size, owner="a") == sorted(
        (row for row in rows if row.owner == "a"), key=lambda row: row.created
    )
    assert pages(log, size, owner="a", live_at=instant) == sorted(
        (row for row in live if row.owner == "a"), key=lambda row: row.created
    )
    assert pages(log, size, expires_before=instant) == sorted(
        over, key=lambda row: (row.expires, row.key)
    )
    assert log.count(TOPIC, live_at=instant) == len(live)
    assert log.count(TOPIC, owner="a", live_at=instant) == sum(r.owner == "a" for r in live)


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
    @given(ends, st.integers(1, 4), st.integers(-3, 3))
    def test_every_order_pages_without_gap_or_overlap(
        self, bench: Bench, told: list[tuple[str, int, bool]], size: int, instant: int
    ) -> None:
        begin = bench.log.latest(TOPIC)
        add(
            bench.log,
            [
                event(
                    bytes([n * 37 % 256, begin % 251, begin // 251 % 256]), who, expires=at, live=on
                )
                for n, (who, at, on) in enumerate(told)
            ],
        )
        assert_pages_tell_all(bench.log, size, instant)

    def test_the_history_of_a_key_comes_in_pages(self, bench: Bench) -> None:
        keys = [b"even", b"odd"]
        add(bench.log, [event(keys[n % 2], n=n) for n in range(20)])
        first = bench.log.read_key(TOPIC, keys[1], limit=4)
        rest = bench.log.read_key(TOPIC, keys[1], first[-1].id)
        assert len(first) == 4
        assert [one.value["n"] for one in first + rest] == list(range(1, 20, 2))
