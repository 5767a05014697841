"""A topic as a table: rows are what the events fold to, at every moment and for every asker."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionledger import Appended, Conflict, InvalidEvent, Log, LogEvent, Row, Unit
from sessionledger.logs.base import OVER
from tests.logs.bench import (
    FOLD,
    TOPIC,
    Bench,
    add,
    creation,
    event,
    every_event,
    put,
    rows_of,
    together,
)

KEYS = [bytes([n]) * 4 for n in range(5)]


def assert_rows_are_folded(log: Log) -> None:
    """Every way of asking for rows answers what the events fold to."""
    events = every_event(log)
    expected = rows_of(events)
    assert {row.key: row for row in log.rows(TOPIC)} == expected
    assert log.count(TOPIC) == len(expected)
    for key, row in expected.items():
        assert log.row(TOPIC, key) == row
        assert log.state(TOPIC, key) == (row.version, row.expires if row.live else OVER, row.state)
        assert log.read_key(TOPIC, key) == [one for one in events if FOLD.key(one) == key]
    for owner in {row.owner for row in expected.values()}:
        mine = [row for row in expected.values() if row.owner == owner]
        assert log.rows(TOPIC, owner=owner) == sorted(mine, key=lambda row: row.created)
        assert log.count(TOPIC, owner=owner) == len(mine)


def wander(log: Log, random: Random, steps: int) -> None:
    """Append at random: with rows, without, many at a time."""
    for _ in range(steps):
        key = random.choice([*KEYS, None])
        happened = event(
            key, random.choice("ab"), expires=random.randrange(9), live=random.random() < 0.8
        )
        if key is None or random.random() < 0.5:
            add(log, [happened] * random.randrange(1, 3))
            continue
        row = log.row(TOPIC, key)
        version = 0 if row is None else row.version
        expected = random.choice([version, None])
        assert isinstance(
            log.append(TOPIC, [Unit([put(happened, row, expected=expected)])])[0], Appended
        )


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_what_the_events_fold_to(bench: Bench, seed: int) -> None:
    wander(bench.log, Random(seed), 40)
    assert_rows_are_folded(bench.log)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_rows_are_what_many_events_fold_to(bench: Bench, seed: int) -> None:
    wander(bench.log, Random(seed), 600)
    assert_rows_are_folded(bench.log)


@pytest.mark.parametrize("seed", range(3))
def test_rebuilding_changes_nothing(bench: Bench, seed: int) -> None:
    wander(bench.log, Random(seed), 40)
    told: list[int] = []
    events = every_event(bench.log)
    assert bench.log.rebuild(TOPIC, told.append) == len(events)
    assert told[-1] == len(events)
    assert_rows_are_folded(bench.log)


def test_rows_survive_reopening(persistent: Bench) -> None:
    wander(persistent.log, Random(7), 40)
    before = persistent.log.rows(TOPIC)
    assert persistent.reopen().rows(TOPIC) == before
    assert_rows_are_folded(persistent.log)


ASKING = {
    "row": lambda log: log.row(TOPIC, KEYS[0]),
    "state": lambda log: log.state(TOPIC, KEYS[0]),
    "rows": lambda log: log.rows(TOPIC),
    "count": lambda log: log.count(TOPIC, owner="alice"),
    "owner_version": lambda log: log.owner_version(TOPIC, "alice"),
    "read_key": lambda log: log.read_key(TOPIC, KEYS[0]),
}


@pytest.mark.parametrize("ask", ASKING)
def test_what_a_log_without_the_fold_appended_is_folded_before_any_answer(
    shared: Bench, ask: str
) -> None:
    add(shared.log, [event(KEYS[0], n=1), event(KEYS[1])])
    before = ASKING[ask](shared.log)
    add(shared.open(fold=False), [event(KEYS[0], n=2), event(KEYS[2])])
    after = ASKING[ask](shared.log)
    assert after != before
    shared.log.rebuild(TOPIC)
    assert ASKING[ask](shared.log) == after
    assert_rows_are_folded(shared.log)


@pytest.mark.parametrize("ask", ASKING)
def test_what_the_reference_appended_is_folded_before_any_answer(beside: Bench, ask: str) -> None:
    add(beside.log, [event(KEYS[0], n=1), event(KEYS[1])])
    before = ASKING[ask](beside.log)
    beside.append_bare(event(KEYS[0], n=2), event(KEYS[2]))
    after = ASKING[ask](beside.log)
    assert after != before
    assert_rows_are_folded(beside.log)


def test_a_log_that_the_reference_began_is_folded_from_zero(beside: Bench) -> None:
    beside.append_bare(*(event(KEYS[n % 5], n=n) for n in range(2500)))
    assert beside.log.count(TOPIC) == 5
    assert_rows_are_folded(beside.log)


def test_conditions_see_what_the_reference_appended(beside: Bench) -> None:
    beside.append_bare(event(KEYS[0]))
    (outcome,) = beside.log.append(TOPIC, [creation(KEYS[0])])
    assert outcome == Conflict(key=KEYS[0], current=beside.log.row(TOPIC, KEYS[0]))
    assert beside.log.latest(TOPIC) == 1


def test_an_event_may_move_a_key_to_another_owner(bench: Bench) -> None:
    add(bench.log, [event(KEYS[0], "alice"), event(KEYS[1], "bob")])
    add(bench.log, [event(KEYS[0], "bob", moves=True)])
    assert bench.log.rows(TOPIC, owner="alice") == []
    assert_rows_are_folded(bench.log)


def test_rows_are_kept_only_with_the_fold(bench: Bench) -> None:
    add(bench.log, [event(KEYS[0])], "elsewhere")
    with pytest.raises(InvalidEvent, match="fold"):
        bench.log.append("elsewhere", [creation(KEYS[1])])
    with pytest.raises(InvalidEvent, match="fold"):
        bench.log.rebuild("elsewhere")
    assert bench.log.latest("elsewhere") == 1


def pages(log: Log, size: int, **which: object) -> list[Row]:
    found: list[Row] = []
    while page := log.rows(TOPIC, after=found[-1] if found else None, limit=size, **which):  # type: ignore[arg-type]
        assert len(page) <= size
        found += page
    return found


ends = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-3, 3), st.booleans()), min_size=1, max_size=12
)


@given(ends, st.integers(1, 4), st.integers(-3, 3))
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_every_order_pages_without_gap_or_overlap(
    bench: Bench, told: list[tuple[str, int, bool]], size: int, instant: int
) -> None:
    """Rows pile up over the examples; whatever is there, the pages must tell all of it."""
    begin = bench.log.latest(TOPIC)
    add(
        bench.log,
        [
            event(bytes([n * 37 % 256, begin % 251, begin // 251]), owner, expires=end, live=live)
            for n, (owner, end, live) in enumerate(told)
        ],
    )
    rows = rows_of(every_event(bench.log)).values()
    live = [row for row in rows if row.live and row.expires > instant]
    over = [row for row in rows if row.live and row.expires < instant]
    assert pages(bench.log, size) == sorted(rows, key=lambda row: row.key)
    assert pages(bench.log, size, live_at=instant) == sorted(live, key=lambda row: row.key)
    assert pages(bench.log, size, owner="a") == sorted(
        (row for row in rows if row.owner == "a"), key=lambda row: row.created
    )
    assert pages(bench.log, size, owner="a", live_at=instant) == sorted(
        (row for row in live if row.owner == "a"), key=lambda row: row.created
    )
    assert pages(bench.log, size, expires_before=instant) == sorted(
        over, key=lambda row: (row.expires, row.key)
    )
    assert bench.log.count(TOPIC, live_at=instant) == len(live)
    assert bench.log.count(TOPIC, owner="a", live_at=instant) == sum(r.owner == "a" for r in live)


def test_the_history_of_a_key_comes_in_pages(bench: Bench) -> None:
    add(bench.log, [event(KEYS[n % 2], n=n) for n in range(20)])
    first = bench.log.read_key(TOPIC, KEYS[1], limit=4)
    rest = bench.log.read_key(TOPIC, KEYS[1], first[-1].id)
    assert [one.value["n"] for one in first + rest] == list(range(1, 20, 2))


def test_readers_never_see_a_row_older_than_what_was_acknowledged(bench: Bench) -> None:
    """A reader that learns of an append by other means must see it in the row."""
    acknowledged = [0]

    def write() -> None:
        for n in range(60):
            (acknowledged[0],) = add(bench.log, [event(KEYS[0], n=n)])
        acknowledged.append(0)

    def read() -> None:
        while len(acknowledged) == 1:
            least = acknowledged[0]
            row, state = bench.log.row(TOPIC, KEYS[0]), bench.log.state(TOPIC, KEYS[0])
            assert least == 0 or (row is not None and row.version >= least)
            assert least == 0 or (state is not None and state[0] >= least)

    together(write, *[read] * 3)


def test_two_logs_on_one_place_agree(shared: Bench) -> None:
    other = shared.open()
    random = Random(3)
    logs = [shared.log, other]

    def alternate(seed: int) -> None:
        for n in range(25):
            add(logs[n % 2], [event(KEYS[(n + seed) % 5], n=n)])

    together(*(partial(alternate, seed) for seed in range(3)))
    assert random.choice(logs).rows(TOPIC) == other.rows(TOPIC) == shared.log.rows(TOPIC)
    assert_rows_are_folded(other)
    assert_rows_are_folded(shared.log)


def test_an_append_by_a_log_without_the_fold_counts_for_conditions(shared: Bench) -> None:
    bare: LogEvent = event(KEYS[0])
    add(shared.open(fold=False), [bare])
    outcomes = shared.log.append(TOPIC, [creation(KEYS[0]), creation(KEYS[1])])
    assert isinstance(outcomes[0], Conflict)
    assert isinstance(outcomes[1], Appended)
