"""Marks: one event that ends every key begun before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from sessionledger.logs.base import (
    OVER,
    Appended,
    Change,
    Conflict,
    Log,
    Row,
    RowFilter,
    Rule,
    Unit,
)
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.conformance.rules import ALICES, KEYS, end, end_all, live_keys
from sessionledger.testing.fixtures import (
    FOLD,
    TOPIC,
    Ledger,
    add,
    concurrently,
    creation,
    event,
    every_event,
    lift,
    mark,
    put,
    until,
)
from sessionledger.testing.other_process import Stopped

MARKED = RowFilter(marked=True)
RIVALS = 12


def marked(log: Log) -> int:
    """Append a mark; its id."""
    (id,) = add(log, [mark()])
    return id


def put_end(row: Row) -> Change:
    """The row's own end, decided on what was read."""
    return put(end(row), row, expected=row.version)


def expect_over(log: Log, row: Row, by: int) -> None:
    """The row, as it was stored, is over by a mark, whichever way somebody asks."""
    read = log.row(TOPIC, row.key)
    assert read is not None
    assert (read.version, read.created, read.live) == (by, row.created, False)
    assert read.state == FOLD.evolve(row, mark()).state
    assert log.state(TOPIC, row.key) == (by, OVER, read.state)
    assert read in log.rows(TOPIC)
    assert read in log.rows(TOPIC, RowFilter(owner=row.owner))
    for where in (
        RowFilter(live_at=OVER),
        RowFilter(live_at=0),
        RowFilter(expires_before=10**9),
        RowFilter(owner=row.owner, live_at=OVER),
        RowFilter(owner=row.owner, expires_before=10**9),
    ):
        listed = log.rows(TOPIC, where)
        assert row.key not in [one.key for one in listed]
        assert log.count(TOPIC, where) == len(listed)


def rows(log: Log) -> dict[bytes, Row]:
    """All rows by their keys."""
    return {row.key: row for row in log.rows(TOPIC)}


class MarkConformance(Conformance):
    """Nothing that began before a mark is live after it."""

    def test_a_mark_ends_all_that_began_before_it(self, ledger: Ledger) -> None:
        add(ledger.log, [event(key) for key in KEYS[:2]])
        add(ledger.log, [event(KEYS[2], live=False)])
        before = rows(ledger.log)
        assert ledger.log.mark(TOPIC) == 0
        by = marked(ledger.log)
        assert ledger.log.mark(TOPIC) == by
        add(ledger.log, [event(KEYS[3])])
        for key in KEYS[:2]:
            expect_over(ledger.log, before[key], by)
        assert ledger.log.row(TOPIC, KEYS[2]) == before[KEYS[2]]
        assert live_keys(ledger.log) == [KEYS[3]]
        state = ledger.log.state(TOPIC, KEYS[3])
        assert state is not None
        assert state[1] == 1000

    def test_what_was_read_before_is_not_answered_after_it(self, ledger: Ledger) -> None:
        add(ledger.log, [event(key) for key in KEYS])
        for _ in range(3):
            assert all(ledger.log.state(TOPIC, key)[1] == 1000 for key in KEYS)  # type: ignore[index]
        marked(ledger.log)
        assert all(ledger.log.state(TOPIC, key)[1] == OVER for key in KEYS)  # type: ignore[index]

    def test_what_was_decided_before_it_conflicts(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0])])
        row = ledger.log.row(TOPIC, KEYS[0])
        assert row is not None
        by = marked(ledger.log)
        late = Unit([put(event(KEYS[0], n=1), row, expected=row.version)])
        resting = Unit([Change(event())], reads=[(KEYS[0], row.version)])
        outcomes = ledger.log.append(TOPIC, [late, resting, creation(KEYS[0])])
        read = ledger.log.row(TOPIC, KEYS[0])
        assert outcomes == [Conflict(key=KEYS[0], current=read)] * 3
        assert ledger.log.latest(TOPIC) == by

    def test_it_holds_within_its_own_batch(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0])])
        row = ledger.log.row(TOPIC, KEYS[0])
        assert row is not None
        late = Unit([put(event(KEYS[0], n=1), row, expected=row.version)])
        rule = Unit(rule=Rule(ALICES, end_all))
        batch = [creation(KEYS[1]), Unit([Change(mark())]), late, rule, creation(KEYS[2]), rule]
        _, by, conflict, none, _, one = ledger.log.append(TOPIC, batch)
        assert isinstance(by, Appended)
        assert isinstance(conflict, Conflict)
        assert none == Appended(())
        assert isinstance(one, Appended)
        assert [row.key for row, _ in one.ruled] == [KEYS[2]]
        expect_over(ledger.log, row, by.ids[0])
        assert live_keys(ledger.log) == []

    def test_what_a_mark_ended_is_listed_until_it_has_an_end_of_its_own(
        self, ledger: Ledger
    ) -> None:
        add(ledger.log, [event(key, expires=n) for n, key in enumerate(KEYS)])
        by = marked(ledger.log)
        add(ledger.log, [event(b"new", expires=0)])
        listed = ledger.log.rows(TOPIC, MARKED, limit=4)
        listed += ledger.log.rows(TOPIC, MARKED, listed[-1])
        assert [row.key for row in listed] == KEYS
        assert {row.version for row in listed} == {by}
        assert ledger.log.count(TOPIC, MARKED) == len(KEYS)
        for outcome in ledger.log.append(TOPIC, [Unit([put_end(row)]) for row in listed[1:]]):
            assert isinstance(outcome, Appended)
        assert [row.key for row in ledger.log.rows(TOPIC, MARKED)] == KEYS[:1]
        ledger.log.append(TOPIC, [Unit([put_end(listed[0])])])
        assert ledger.log.rows(TOPIC, MARKED) == []
        kept = rows(ledger.log)
        add(ledger.log, [lift(by - 1)])
        assert ledger.log.mark(TOPIC) == by
        add(ledger.log, [lift(by)])
        assert ledger.log.mark(TOPIC) == 0
        assert rows(ledger.log) == kept
        assert live_keys(ledger.log) == [b"new"]
        ids = [one.id for one in ledger.log.read_key(TOPIC, KEYS[0])]
        assert ids == [1, kept[KEYS[0]].version]

    def test_what_others_append_to_a_key_leaves_it_to_be_ended(self, ledger: Ledger) -> None:
        add(ledger.log, [event(KEYS[0]), event(KEYS[1])])
        by = marked(ledger.log)
        first, second = add(ledger.log, [event(KEYS[0], n=1), event(KEYS[1], live=False)])
        assert [row.key for row in ledger.log.rows(TOPIC, MARKED)] == [KEYS[0]]
        state = ledger.log.state(TOPIC, KEYS[0])
        assert state is not None
        assert state[:2] == (first, OVER)
        assert rows(ledger.log)[KEYS[1]].version == second
        assert by < first

    def test_a_rebuild_gives_the_same(self, ledger: Ledger) -> None:
        add(ledger.log, [event(key) for key in KEYS])
        row = ledger.log.row(TOPIC, KEYS[5])
        assert row is not None
        ledger.log.append(TOPIC, [Unit([put_end(row)])])
        by = marked(ledger.log)
        add(ledger.log, [event(KEYS[0], n=1)])
        row = ledger.log.row(TOPIC, KEYS[1])
        assert row is not None
        ledger.log.append(TOPIC, [Unit([put_end(row)])])
        add(ledger.log, [event(b"new")])
        kept = rows(ledger.log)
        ledger.log.rebuild(TOPIC)
        assert rows(ledger.log) == kept
        assert ledger.log.mark(TOPIC) == by
        assert live_keys(ledger.log) == [b"new"]

    def test_it_is_there_after_reopening(self, persistent: Ledger) -> None:
        add(persistent.log, [event(KEYS[0])])
        row = persistent.log.row(TOPIC, KEYS[0])
        assert row is not None
        by = marked(persistent.log)
        expect_over(persistent.reopen(), row, by)

    def test_others_see_it_at_once(self, shared: Ledger) -> None:
        other = shared.open()
        add(shared.log, [event(KEYS[0])])
        row = other.row(TOPIC, KEYS[0])
        assert row is not None
        for _ in range(3):
            assert other.state(TOPIC, KEYS[0]) == (row.version, 1000, row.state)
        by = marked(shared.log)
        expect_over(other, row, by)

    def test_a_mark_that_came_without_rows_counts(self, shared: Ledger) -> None:
        """As one does whose writer has no fold, and as all do for a rebuild."""
        add(shared.log, [event(KEYS[0])])
        row = shared.log.row(TOPIC, KEYS[0])
        assert row is not None
        by = marked(shared.open(fold=False))
        expect_over(shared.log, row, by)

    def test_it_stays_when_events_are_removed(self, emptied: Ledger) -> None:
        add(emptied.log, [event(KEYS[0])])
        row = emptied.log.row(TOPIC, KEYS[0])
        assert row is not None
        marked(emptied.log)
        log = emptied.empty()
        read = log.row(TOPIC, KEYS[0])
        assert read is not None
        assert not read.live
        assert read.version > row.version
        assert live_keys(log) == []
        add(log, [event(KEYS[1])])
        assert live_keys(log) == [KEYS[1]]

    @pytest.mark.parametrize("other", ["creations", "changes"])
    def test_whatever_races_with_it_comes_before_or_after(self, ledger: Ledger, other: str) -> None:
        keys = [bytes([n]) * 4 for n in range(RIVALS)]
        if other == "changes":
            add(ledger.log, [event(key) for key in keys])
        decided = rows(ledger.log)

        def act(key: bytes) -> None:
            row = decided.get(key)
            expected = 0 if row is None else row.version
            ledger.log.append(TOPIC, [Unit([put(event(key, n=1), row, expected=expected)])])

        calls: list[Callable[[], object]] = [partial(act, key) for key in keys]
        concurrently(*calls, partial(marked, ledger.log))
        by = ledger.log.mark(TOPIC)
        found = rows(ledger.log)
        assert all(row.live == (row.created > by) for row in found.values())
        assert all(one.id <= by for one in every_event(ledger.log)) or other == "creations"

    def test_it_reaches_other_processes(self, followed: Ledger) -> None:
        add(followed.log, [event(KEYS[0])])
        child = followed.child()
        assert child.do(is_live, KEYS[0])
        marked(followed.log)
        until(lambda: not child.do(is_live, KEYS[0]))
        assert not child.do(is_live, KEYS[0])


def is_live(log: Log, _stopped: Stopped, key: bytes) -> bool:
    """Whether a log answers that the key is live."""
    state = log.state(TOPIC, key)
    return state is not None and state[1] != OVER
