"""Units: all or nothing, under conditions, whoever races."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from sessionledger.logs import chain, units
from sessionledger.logs.base import (
    OVER,
    Appended,
    Change,
    Conflict,
    Log,
    Outcome,
    Row,
    RowFilter,
    Rule,
    Unit,
    Verdict,
)
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.conformance.rows import assert_rows_are_folded
from sessionledger.testing.conformance.rules import KEYS, end
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
)

RIVALS = 20
NAMES = ("a", "\0ä")
BATCHES = 40
Rows = Mapping[bytes, Row]


def drawn_unit(random: Random, rows: Rows, *, has_rule: bool) -> Unit:
    """A unit that may be stale."""

    def version(key: bytes) -> int:
        newest = rows[key].version if key in rows else 0
        return random.choice([newest] * 30 + [max(0, newest - 1)] * 3 + [newest + 10**6])

    def change(key: bytes) -> Change:
        names: dict[str, Any] = {name: random.choice([*NAMES, None]) for name in ("alias", "group")}
        names |= {"live": random.random() < 0.95, "moves": random.random() < 0.3}
        happened = event(key, random.choice(NAMES), **names)
        return put(happened, rows.get(key), expected=version(key))

    keys = random.sample(KEYS, random.randint(not has_rule, 2))
    changes = [*map(change, keys)]
    if random.random() < 0.2:
        changes.insert(1, Change(event(n=1)))
    reads = [(key, version(key)) for key in random.choices(KEYS, k=random.randrange(3))]
    return Unit(changes, reads, drawn_rule(random, keys) if has_rule else None)


def drawn_rule(random: Random, taken: Sequence[bytes]) -> Rule:
    """A rule that ends some rows, and some of their relatives, or refuses."""
    first, then = (random.choice([None, *range(16)]) for _ in range(2))

    def ends(rows: Sequence[Row], which: int | None, but: Sequence[bytes]) -> Verdict | None:
        if which is None:
            return None
        chosen = [row for place, row in enumerate(rows) if which >> place & 1]
        return tuple((row, end(row)) for row in chosen if row.key not in but)

    def follow(verdict: Verdict, rows: Sequence[Row]) -> Verdict | None:
        return ends(rows, then, [*taken, *(row.key for row, _ in verdict)])

    name: dict[str, Any] = {random.choice(["owner", "alias", "group"]): random.choice(NAMES)}
    where, limit = RowFilter(live_at=OVER, **name), random.choice([None, None, 1, 2])
    rule = Rule(where, lambda rows: ends(rows, first, taken), limit=limit)
    return replace(rule, follow=follow) if random.random() < 0.5 else rule


def planned(rows: Rows, head: chain.Head, batch: Sequence[Unit]) -> units.Plan:
    """What is to become of the batch."""
    rules = units.rules_of(batch)
    live = sorted((row for row in rows.values() if row.live), key=lambda row: row.created)
    pages = [[row for row in live if rule.where.matches(row)][: rule.limit] for rule in rules]
    groups = [units.groups_of(rule, page) for rule, page in zip(rules, pages, strict=True)]
    relatives = [[row for row in live if row.group in names] for names in groups]
    state = units.BatchState(head, dict(rows), pages, relatives)
    return units.plan(TOPIC, batch, FOLD, state)


def told(outcome: Outcome) -> Any:
    """An outcome without the ids, which have gaps in some logs."""
    if isinstance(outcome, Appended):
        ruled = [(row.key, row.state, event) for row, event in outcome.ruled]
        return len(outcome.ids), ruled, outcome.last and outcome.last.key
    return outcome.key, outcome.current and outcome.current.state


def append_as_planned(log: Log, random: Random) -> None:
    """Append a batch. Many logs judge one without rules, or with one alone, in a way of its own."""
    rows, events = {row.key: row for row in log.rows(TOPIC)}, every_event(log)
    head = chain.head_after(events[-1]) if events else chain.EMPTY
    rules, most = random.choice([(0.0, 5), (1.0, 1), (0.4, 5)])
    count = random.randint(1, most)
    batch = [drawn_unit(random, rows, has_rule=random.random() < rules) for _ in range(count)]
    plan = planned(rows, head, batch)
    outcomes = log.append(TOPIC, batch)
    assert [*map(told, outcomes)] == [*map(told, plan.outcomes)]
    written = log.read(TOPIC, head.id)
    for stored, expected in zip(written, plan.events, strict=True):
        assert stored.payload == expected.payload
        assert chain.unchained(stored.headers) == chain.unchained(expected.headers)
    ids = [id for one in outcomes if isinstance(one, Appended) for id in one.ids]
    assert ids == [one.id for one in written]


class UnitConformance(Conformance):
    """One winner, and no half of anything."""

    def test_an_answer_for_each_unit_in_order(self, ledger: Ledger) -> None:
        three = Unit([Change(event(n=n)) for n in range(3)])
        outcomes = ledger.log.append(TOPIC, [creation(KEYS[0]), creation(KEYS[0]), three])
        row = ledger.log.row(TOPIC, KEYS[0])
        assert row is not None
        assert outcomes[0] == Appended((row.version,))
        assert outcomes[1] == Conflict(key=KEYS[0], current=row)
        assert isinstance(outcomes[2], Appended)
        assert [row.version, *outcomes[2].ids] == [one.id for one in every_event(ledger.log)]

    def test_a_conflict_tells_the_row_that_was_in_the_way(self, ledger: Ledger) -> None:
        ledger.log.append(TOPIC, [creation(KEYS[0])])
        row = ledger.log.row(TOPIC, KEYS[0])
        assert row is not None
        stale = Unit([put(event(KEYS[0], n=2), row, expected=row.version + 1)])
        missing = Unit([put(event(KEYS[1], n=2), None, expected=5)])
        assert ledger.log.append(TOPIC, [stale, missing]) == [
            Conflict(key=KEYS[0], current=row),
            Conflict(key=KEYS[1], current=None),
        ]
        assert ledger.log.latest(TOPIC) == row.version

    def test_a_change_on_the_newest_version_goes_once(self, ledger: Ledger) -> None:
        ledger.log.append(TOPIC, [creation(KEYS[0])])
        row = ledger.log.row(TOPIC, KEYS[0])
        assert row is not None
        change = Unit([put(event(KEYS[0], n=2), row, expected=row.version)])
        first, second = (ledger.log.append(TOPIC, [change])[0] for _ in range(2))
        newer = ledger.log.row(TOPIC, KEYS[0])
        assert newer is not None
        assert first == Appended((newer.version,))
        assert second == Conflict(key=KEYS[0], current=newer)

    def test_a_unit_may_rest_on_a_key_that_it_leaves_alone(self, ledger: Ledger) -> None:
        """On one that is where it was read to be, and on one that must not exist."""
        (added,) = add(ledger.log, [event(KEYS[0])])
        still = Unit([Change(event(n=1))], reads=[(KEYS[0], added), (KEYS[1], 0)])
        assert isinstance(ledger.log.append(TOPIC, [still])[0], Appended)
        moved = Unit([put(event(KEYS[0], n=2), ledger.log.row(TOPIC, KEYS[0]), expected=added)])
        changed, refused = ledger.log.append(TOPIC, [moved, still])
        assert isinstance(changed, Appended)
        assert refused == Conflict(key=KEYS[0], current=ledger.log.row(TOPIC, KEYS[0]))
        appeared = Unit([Change(event(n=1))], reads=[(KEYS[1], 0)])
        _, refused = ledger.log.append(TOPIC, [creation(KEYS[1]), appeared])
        assert refused == Conflict(key=KEYS[1], current=ledger.log.row(TOPIC, KEYS[1]))
        assert len(every_event(ledger.log)) == 4

    def test_unconditional_changes_always_go(self, ledger: Ledger) -> None:
        change = Unit([put(event(KEYS[0]), None, expected=None)])
        outcomes = ledger.log.append(TOPIC, [change, change])
        assert all(isinstance(outcome, Appended) for outcome in outcomes)
        assert len(every_event(ledger.log)) == 2

    def test_a_refused_unit_leaves_nothing(self, ledger: Ledger) -> None:
        ledger.log.append(TOPIC, [creation(KEYS[0])])
        before = (every_event(ledger.log), ledger.log.rows(TOPIC))
        both = Unit([*creation(KEYS[1]).changes, *creation(KEYS[0]).changes])
        assert isinstance(ledger.log.append(TOPIC, [both])[0], Conflict)
        assert (every_event(ledger.log), ledger.log.rows(TOPIC)) == before
        assert isinstance(ledger.log.append(TOPIC, [creation(KEYS[1])])[0], Appended)

    def test_one_of_many_racing_creates_wins(self, ledger: Ledger) -> None:
        def create(n: int) -> bool:
            (outcome,) = ledger.log.append(TOPIC, [creation(KEYS[0], n=n)])
            return isinstance(outcome, Appended)

        won = concurrently(*(partial(create, n) for n in range(RIVALS)))
        assert sum(won) == 1
        (only,) = every_event(ledger.log)
        assert won[only.value["n"]]

    def test_one_of_many_racing_changes_wins(self, ledger: Ledger) -> None:
        ledger.log.append(TOPIC, [creation(KEYS[0])])
        row = ledger.log.row(TOPIC, KEYS[0])
        assert row is not None
        version = row.version

        def change(n: int) -> bool:
            unit = Unit([put(event(KEYS[0], n=n), row, expected=version)])
            return isinstance(ledger.log.append(TOPIC, [unit])[0], Appended)

        won = concurrently(*(partial(change, n) for n in range(RIVALS)))
        assert sum(won) == 1
        assert won[every_event(ledger.log)[-1].value["n"]]

    def test_no_change_of_many_that_decide_again_is_lost(self, ledger: Ledger) -> None:
        """Each decides on the row it read until it wins: every one of them is in the history."""

        def change(n: int) -> None:
            while True:
                row = ledger.log.row(TOPIC, KEYS[0])
                version = 0 if row is None else row.version
                unit = Unit([put(event(KEYS[0], n=n), row, expected=version)])
                if isinstance(ledger.log.append(TOPIC, [unit])[0], Appended):
                    return

        concurrently(*(partial(change, n) for n in range(8)))
        history = ledger.log.read_key(TOPIC, KEYS[0])
        assert sorted(one.value["n"] for one in history) == list(range(8))

    @pytest.mark.parametrize("seed", range(3))
    def test_random_batches_become_what_is_planned(self, ledger: Ledger, seed: int) -> None:
        for round in range(ledger.harness.rounds):
            random = Random(seed * 1000 + round)
            for _ in range(BATCHES):
                append_as_planned(ledger.log, random)
            assert_rows_are_folded(ledger.log)
