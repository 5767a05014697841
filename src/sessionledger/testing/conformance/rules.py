"""Rules: what happens to all rows with a name, decided with nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from sessionledger.errors import InvalidEvent
from sessionledger.logs.base import (
    OVER,
    Appended,
    Change,
    Conflict,
    Log,
    LogEvent,
    Row,
    RowFilter,
    Rule,
    Unit,
    Verdict,
)
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import (
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

KEYS = [bytes([n]) * 4 for n in range(6)]
ALICES = RowFilter(owner="alice", live_at=OVER)
RIVALS = 16
LIMIT = 3


def end(row: Row) -> LogEvent:
    """The event that ends a row."""
    return event(row.key, row.owner, live=False)


def end_all(rows: Sequence[Row]) -> Verdict:
    """Every row ends."""
    return [(row, end(row)) for row in rows]


def ended(log: Log, rule: Rule, *changes: Change) -> Appended:
    """What became of a unit with a rule."""
    (outcome,) = log.append(TOPIC, [Unit(changes, rule=rule)])
    assert isinstance(outcome, Appended)
    return outcome


def live_keys(log: Log, owner: str = "alice") -> list[bytes]:
    """The keys of an owner's live rows."""
    return [row.key for row in log.rows(TOPIC, RowFilter(owner=owner, live_at=OVER))]


class RuleConformance(Conformance):
    """Whatever has the name when the unit is written, and nothing else."""

    @pytest.mark.parametrize("name", ["owner", "alias", "group"])
    def test_all_live_rows_with_a_name_are_given_in_order(self, ledger: Ledger, name: str) -> None:
        for key, called in zip(KEYS, ("it", "other", "it", "it"), strict=False):
            told: dict[str, Any] = {"owner": "alice", "live": key != KEYS[2]} | {name: called}
            add(ledger.log, [event(key, **told)])
        given: list[Row] = []

        def decide(rows: Sequence[Row]) -> Verdict:
            given[:] = rows
            return end_all(rows)

        where = replace(RowFilter(live_at=OVER), **{name: "it"})
        outcome = ended(ledger.log, Rule(where, decide))
        assert [row.key for row in given] == [KEYS[0], KEYS[3]]
        assert [row for row, _ in outcome.ruled] == given
        assert outcome.last is None
        assert [one.id for one in every_event(ledger.log)[4:]] == [*outcome.ids]
        for row in rows_of(every_event(ledger.log)).values():
            assert ledger.log.row(TOPIC, row.key) == row
            assert row.live == (row.key == KEYS[1])

    def test_its_events_come_before_the_changes(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0])])
        created = put(event(KEYS[1]), None, expected=0)
        outcome = ended(ledger.log, Rule(ALICES, end_all), created)
        first, second = every_event(ledger.log)[1:]
        assert (first.id, second.id) == outcome.ids
        assert [one.value["key"] for one in (first, second)] == [KEYS[0].hex(), KEYS[1].hex()]
        assert [one.headers["sessionledger.unit"] for one in (first, second)] == ["1/2", "2/2"]
        assert live_keys(ledger.log) == [KEYS[1]]

    def test_it_sees_the_units_before_it(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0]), event(KEYS[1])])
        rule = Unit(rule=Rule(ALICES, end_all))
        away = Unit([Change(event(KEYS[1], "bob", moves=True))])
        batch = [creation(KEYS[2]), away, rule, creation(KEYS[3]), rule, rule]
        *_, first, _, second, third = ledger.log.append(TOPIC, batch)
        told = [outcome for outcome in (first, second, third) if isinstance(outcome, Appended)]
        keys = [[row.key for row, _ in outcome.ruled] for outcome in told]
        assert keys == [[KEYS[0], KEYS[2]], [KEYS[3]], []]
        assert live_keys(ledger.log, "bob") == [KEYS[1]]

    def test_a_rule_that_refuses_writes_nothing(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0])])
        unit = Unit(creation(KEYS[1]).changes, rule=Rule(ALICES, lambda _: None))
        assert ledger.log.append(TOPIC, [unit]) == [Conflict()]
        assert len(every_event(ledger.log)) == 1
        assert ledger.log.row(TOPIC, KEYS[1]) is None

    def test_a_rule_that_finds_nothing_writes_nothing(self, ledger: Ledger) -> None:
        assert ended(ledger.log, Rule(ALICES, end_all)) == Appended(())
        assert ledger.log.latest(TOPIC) == 0

    def test_rows_are_given_in_pages(self, ledger: Ledger) -> None:
        add(ledger.log, [event(key) for key in KEYS])
        keys: list[bytes] = []
        after: Row | None = None
        for _ in range(3):
            outcome = ended(ledger.log, Rule(ALICES, lambda rows: end_all(rows[1:]), after, 2))
            assert len(outcome.ruled) == 1
            after = outcome.last
            keys += [row.key for row, _ in outcome.ruled]
        assert after is not None
        assert ended(ledger.log, Rule(ALICES, end_all, after, 2)) == Appended(())
        assert keys == KEYS[1::2]
        assert live_keys(ledger.log) == KEYS[::2]

    def test_what_follows_is_given_all_live_rows_of_the_groups(self, ledger: Ledger) -> None:
        for key, owner, group in zip(KEYS, "abbbbc", (*"ggghx", None), strict=True):
            add(ledger.log, [event(key, owner, group=group, live=key != KEYS[2])])
        given: list[Row] = []

        def follow(verdict: Verdict, related: Sequence[Row]) -> Verdict:
            given[:] = related
            assert [row.key for row, _ in verdict] == KEYS[:1]
            return end_all(related[1:])

        where = RowFilter(owner="a", live_at=OVER)
        outcome = ended(ledger.log, Rule(where, end_all, follow=follow, groups=["h", "none"]))
        assert [row.key for row in given] == [KEYS[0], KEYS[1], KEYS[3]]
        assert [row.key for row, _ in outcome.ruled] == [KEYS[1], KEYS[3], KEYS[0]]
        assert [one.value["key"] for one in every_event(ledger.log)[6:]] == [
            row.key.hex() for row, _ in outcome.ruled
        ]
        for row in rows_of(every_event(ledger.log)).values():
            assert ledger.log.row(TOPIC, row.key) == row
            assert row.live == (row.key in KEYS[4:])

    def test_what_follows_sees_the_units_before_it(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0], group="g"), event(KEYS[1], "bob", group="g")])

        def follow(_: Verdict, related: Sequence[Row]) -> Verdict:
            return end_all([row for row in related if row.owner != "alice"])

        rule = Unit(rule=Rule(ALICES, end_all, follow=follow))
        away = Unit([Change(event(KEYS[1], live=False))])
        batch = [creation(KEYS[2], "bob", group="g"), away, rule, rule]
        *_, first, second = ledger.log.append(TOPIC, batch)
        told = [outcome for outcome in (first, second) if isinstance(outcome, Appended)]
        keys = [[row.key for row, _ in outcome.ruled] for outcome in told]
        assert keys == [[KEYS[2], KEYS[0]], []]

    def test_nothing_follows_a_refusal(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0], group="g")])
        rules = [
            Rule(ALICES, lambda _: None, follow=lambda _, related: end_all(related)),
            Rule(ALICES, end_all, follow=lambda *_: None),
        ]
        for rule in rules:
            assert ledger.log.append(TOPIC, [Unit(rule=rule)]) == [Conflict()]
        assert live_keys(ledger.log) == KEYS[:1]

    def test_a_rule_goes_by_a_name_and_a_fold(self, ledger: Ledger) -> None:
        for where in (RowFilter(live_at=OVER), RowFilter(owner="alice", expires_before=1)):
            with pytest.raises(InvalidEvent):
                ledger.log.append(TOPIC, [Unit(rule=Rule(where, end_all))])
        with pytest.raises(InvalidEvent):
            ledger.log.append("unfolded", [Unit(rule=Rule(ALICES, end_all))])

    def test_whatever_came_before_the_end_of_all_is_over(self, ledger: Ledger) -> None:
        """And whatever came after it lives, however they race."""
        outcomes: list[Appended] = []

        def create(n: int) -> None:
            add(ledger.log, [event(bytes([n]) * 4)])

        def end_them() -> None:
            outcomes.append(ended(ledger.log, Rule(ALICES, end_all), Change(event())))

        calls: list[Callable[[], None]] = [partial(create, n) for n in range(RIVALS)]
        concurrently(*calls, end_them, end_them)
        last = max(outcome.ids[-1] for outcome in outcomes)
        rows = [ledger.log.row(TOPIC, bytes([n]) * 4) for n in range(RIVALS)]
        assert all(row is not None and row.live == (row.created > last) for row in rows)

    def test_a_rule_holds_a_limit_against_racing_creates(self, ledger: Ledger) -> None:
        def room(rows: Sequence[Row]) -> Verdict | None:
            return () if len(rows) < LIMIT else None

        def create(n: int) -> bool:
            unit = Unit(creation(bytes([n]) * 4).changes, rule=Rule(ALICES, room))
            return isinstance(ledger.log.append(TOPIC, [unit])[0], Appended)

        won = concurrently(*(partial(create, n) for n in range(RIVALS)))
        assert sum(won) == LIMIT == len(live_keys(ledger.log))

    def test_a_rule_holds_over_two_logs(self, shared: Ledger) -> None:
        other = shared.open()
        add(shared.log, [event(KEYS[0])])
        assert [row.key for row, _ in ended(other, Rule(ALICES, end_all)).ruled] == [KEYS[0]]
        assert live_keys(shared.log) == []

    def test_a_rule_sees_what_a_foreign_writer_appended(self, beside: Ledger) -> None:
        add(beside.log, [event(KEYS[0])])
        beside.append_bare(event(KEYS[1]))
        assert [row.key for row, _ in ended(beside.log, Rule(ALICES, end_all)).ruled] == KEYS[:2]
