"""Units: all or nothing, under conditions, whoever races."""

from __future__ import annotations

from functools import partial

from sessionledger.logs.base import Appended, Change, Conflict, Unit
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
)

KEYS = [bytes([n]) * 4 for n in range(4)]
RIVALS = 20


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
