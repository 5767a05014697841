"""A topic as a table: rows are what the events fold to, at every moment and for every asker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from sessionledger.errors import InvalidEvent
from sessionledger.logs import chain
from sessionledger.logs.base import OVER, Appended, Conflict, Log, RowFilter, Unit
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import (
    FOLD,
    TOPIC,
    Ledger,
    add,
    concurrently,
    creation,
    event,
    every_event,
    put,
    rows_of,
)

KEYS = [bytes([n]) * 4 for n in range(5)]

ASKING: dict[str, Callable[[Log], object]] = {
    "row": lambda log: log.row(TOPIC, KEYS[0]),
    "state": lambda log: log.state(TOPIC, KEYS[0]),
    "rows": lambda log: log.rows(TOPIC),
    "rows by alias": lambda log: log.rows(TOPIC, RowFilter(alias="the other")),
    "count": lambda log: log.count(TOPIC, RowFilter(owner="alice")),
    "read_key": lambda log: log.read_key(TOPIC, KEYS[0]),
}
"""Every way of asking that answers from rows, and differently after each event of `NEWS`."""

NEWS = [event(KEYS[0], n=2), event(KEYS[2], alias="the other")]


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
        assert log.rows(TOPIC, RowFilter(owner=owner)) == sorted(mine, key=lambda row: row.created)
        assert log.count(TOPIC, RowFilter(owner=owner)) == len(mine)
    for alias in {row.alias for row in expected.values()} - {None}:
        called = [row for row in expected.values() if row.alias == alias]
        assert log.rows(TOPIC, RowFilter(alias=alias)) == sorted(
            called, key=lambda row: row.created
        )


def wander(log: Log, random: Random, steps: int) -> None:
    """Append at random: with rows, without, many at a time."""
    for _ in range(steps):
        key = random.choice([*KEYS, None])
        happened = event(
            key,
            random.choice("ab"),
            expires=random.randrange(9),
            live=random.random() < 0.8,
            alias=random.choice(["one", "the other", None]),
        )
        if key is None or random.random() < 0.5:
            add(log, [happened] * random.randrange(1, 3))
            continue
        row = log.row(TOPIC, key)
        version = 0 if row is None else row.version
        expected = random.choice([version, None])
        change = put(happened, row, expected=expected)
        assert isinstance(log.append(TOPIC, [Unit([change])])[0], Appended)


class RowConformance(Conformance):
    """A row is the fold of its history."""

    @pytest.mark.parametrize("seed", range(5))
    def test_rows_are_what_the_events_fold_to(self, ledger: Ledger, seed: int) -> None:
        for round in range(ledger.harness.rounds):
            wander(ledger.log, Random(seed * 1000 + round), 40)
            assert_rows_are_folded(ledger.log)

    @pytest.mark.parametrize("seed", range(3))
    def test_rebuilding_changes_nothing(self, ledger: Ledger, seed: int) -> None:
        wander(ledger.log, Random(seed), 40)
        told: list[int] = []
        events = every_event(ledger.log)
        assert ledger.log.rebuild(TOPIC, told.append) == len(events)
        assert told[-1] == len(events)
        assert_rows_are_folded(ledger.log)

    def test_rows_survive_reopening(self, persistent: Ledger) -> None:
        wander(persistent.log, Random(7), 40)
        before = persistent.log.rows(TOPIC)
        assert persistent.reopen().rows(TOPIC) == before
        assert_rows_are_folded(persistent.log)
        wander(persistent.log, Random(8), 10)
        assert_rows_are_folded(persistent.log)

    def test_the_chain_holds_after_everything(self, ledger: Ledger) -> None:
        if not ledger.log.describe().chained:
            pytest.skip("the log says that it is not chained")
        wander(ledger.log, Random(1), 40)
        ledger.log.rebuild(TOPIC)
        ledger.log.ack(TOPIC, "mailer", 3)
        wander(ledger.log, Random(2), 10)
        events = every_event(ledger.log)
        assert chain.verify(TOPIC, events) == chain.head_after(events[-1])

    def test_an_event_may_move_a_key_to_another_owner(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0], "alice"), event(KEYS[1], "bob")])
        add(ledger.log, [event(KEYS[0], "bob", moves=True)])
        assert ledger.log.rows(TOPIC, RowFilter(owner="alice")) == []
        assert_rows_are_folded(ledger.log)

    def test_an_event_may_give_a_key_another_alias_or_none(self, ledger: Ledger) -> None:
        add(ledger.log, [event(key, alias="one") for key in KEYS])
        add(ledger.log, [event(KEYS[0], alias="the other"), event(KEYS[1], alias=None)])
        assert [row.key for row in ledger.log.rows(TOPIC, RowFilter(alias="one"))] == KEYS[2:]
        assert [row.key for row in ledger.log.rows(TOPIC, RowFilter(alias="the other"))] == KEYS[:1]
        assert_rows_are_folded(ledger.log)

    def test_rows_are_kept_only_with_the_fold(self, ledger: Ledger) -> None:
        (last,) = add(ledger.log, [event(KEYS[0])], "elsewhere")
        with pytest.raises(InvalidEvent, match="fold"):
            ledger.log.append("elsewhere", [creation(KEYS[1])])
        with pytest.raises(InvalidEvent, match="fold"):
            ledger.log.rebuild("elsewhere")
        assert ledger.log.latest("elsewhere") == last

    def test_events_from_before_the_fold_are_folded(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0], n=1), event(KEYS[1])], "late")
        ledger.log.fold_with("late", FOLD)
        rows = rows_of(every_event(ledger.log, "late"))
        assert {row.key: row for row in ledger.log.rows("late")} == rows
        assert ledger.log.append("late", [creation(KEYS[0])]) == [
            Conflict(key=KEYS[0], current=rows[KEYS[0]])
        ]

    @pytest.mark.parametrize("ask", ASKING)
    def test_what_a_log_without_the_fold_appended_is_folded_before_any_answer(
        self, shared: Ledger, ask: str
    ) -> None:
        add(shared.log, [event(KEYS[0], n=1), event(KEYS[1])])
        before = ASKING[ask](shared.log)
        add(shared.open(fold=False), NEWS)
        assert ASKING[ask](shared.log) != before
        assert_rows_are_folded(shared.log)

    def test_an_append_by_a_log_without_the_fold_counts_for_conditions(
        self, shared: Ledger
    ) -> None:
        add(shared.open(fold=False), [event(KEYS[0])])
        outcomes = shared.log.append(TOPIC, [creation(KEYS[0]), creation(KEYS[1])])
        assert isinstance(outcomes[0], Conflict)
        assert isinstance(outcomes[1], Appended)

    def test_two_logs_on_one_place_agree(self, shared: Ledger) -> None:
        logs = [shared.log, shared.open()]

        def alternate(seed: int) -> None:
            for n in range(25):
                add(logs[n % 2], [event(KEYS[(n + seed) % 5], n=n)])

        concurrently(*(partial(alternate, seed) for seed in range(3)))
        assert logs[0].rows(TOPIC) == logs[1].rows(TOPIC)
        assert every_event(logs[0]) == every_event(logs[1])
        for log in logs:
            assert_rows_are_folded(log)
