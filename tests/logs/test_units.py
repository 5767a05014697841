"""Units: all or nothing, conditions, guards; first purely, then on every log."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import Appended, Change, Conflict, Guard, InvalidEvent, LogEvent, Row, Unit
from sessionledger.logs import chain, units
from sessionledger.logs.units import Tail
from sessionledger.testing.bench import (
    FOLD,
    PATIENCE,
    TOPIC,
    Bench,
    creation,
    event,
    every_event,
    guarded,
    put,
    rows_of,
    together,
)

KEYS = [bytes([n]) * 4 for n in range(4)]


def tail(**rows: Row) -> Tail:
    return Tail(chain.EMPTY, {row.key: row for row in rows.values()}, {})


class TestPlan:
    """Judging a batch, without any log."""

    def test_units_see_those_before_them(self) -> None:
        planned = units.plan(TOPIC, [creation(KEYS[0]), creation(KEYS[0])], FOLD, tail())
        assert planned.outcomes == [
            Appended((1,)),
            Conflict(key=KEYS[0], current=planned.rows[KEYS[0]]),
        ]

    def test_one_failed_condition_stops_the_whole_unit(self) -> None:
        taken = creation(KEYS[0])
        both = Unit([*creation(KEYS[1]).changes, *taken.changes])
        planned = units.plan(TOPIC, [taken, both], FOLD, tail())
        assert len(planned.events) == 1
        assert KEYS[1] not in planned.rows

    def test_a_guard_fails_once_the_owner_got_another_key(self) -> None:
        batch = [guarded(KEYS[0], "alice", 0), guarded(KEYS[1], "alice", 0)]
        planned = units.plan(TOPIC, batch, FOLD, tail())
        assert planned.outcomes == [Appended((1,)), Conflict(owner="alice")]

    def test_a_guard_holds_for_changes_of_keys_there_are(self) -> None:
        touch = Unit([Change(event(KEYS[0], n=2))])
        batch = [creation(KEYS[0]), touch, guarded(KEYS[1], "alice", 1)]
        planned = units.plan(TOPIC, batch, FOLD, tail())
        assert planned.outcomes[-1] == Appended((3,))

    def test_links_lead_back(self) -> None:
        batch = [Unit([Change(event(key, n=n))]) for n, key in enumerate([KEYS[0], KEYS[1]] * 2)]
        planned = units.plan(TOPIC, batch, FOLD, tail())
        assert [(link.id, link.previous) for link in planned.links] == [
            (1, 0),
            (2, 0),
            (3, 1),
            (4, 2),
        ]

    def test_what_was_planned_is_chained(self) -> None:
        planned = units.plan(TOPIC, [creation(key) for key in KEYS], FOLD, tail())
        assert chain.verify(TOPIC, planned.events) == planned.head

    @given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 9)), max_size=20))
    def test_planning_folding_and_refolding_agree(self, told: list[tuple[bytes, int]]) -> None:
        happened = [event(key, n=n) for key, n in told]
        batch = [Unit([Change(one)]) for one in happened]
        planned = units.plan(TOPIC, batch, FOLD, tail())
        refolded = units.refold(FOLD, planned.events, {})
        assert planned.rows == refolded.rows == rows_of(planned.events)
        assert planned.links == refolded.links

    def test_keys_and_owners_are_named_once(self) -> None:
        batch = [
            creation(KEYS[0]),
            Unit([Change(event(KEYS[1])), Change(event())]),
            creation(KEYS[0]),
        ]
        assert units.keys_of(batch, FOLD) == [KEYS[0], KEYS[1]]
        assert units.keys_of(batch, None) == [KEYS[0]]
        guards = Unit(creation(KEYS[0]).changes, [Guard("a", 1), Guard("b", 1), Guard("a", 2)])
        assert units.owners_of([guards]) == ["a", "b"]

    def test_what_can_t_be_stored_is_refused(self) -> None:
        with pytest.raises(InvalidEvent, match="at least one"):
            units.check([Unit([])], FOLD)
        with pytest.raises(InvalidEvent, match="fold"):
            units.check([creation(KEYS[0])], None)
        forged = LogEvent.of("k", {}, headers={chain.HASH_HEADER: "sha256:0"})
        with pytest.raises(InvalidEvent, match="record_hash"):
            units.check([Unit([Change(forged)])], FOLD)


def test_a_conflict_tells_the_row_that_was_in_the_way(bench: Bench) -> None:
    bench.log.append(TOPIC, [creation(KEYS[0])])
    row = bench.log.row(TOPIC, KEYS[0])
    assert row is not None
    stale = Unit([put(event(KEYS[0], n=2), row, expected=row.version - 1)])
    missing = Unit([put(event(KEYS[1], n=2), None, expected=5)])
    assert bench.log.append(TOPIC, [stale, missing]) == [
        Conflict(key=KEYS[0], current=row),
        Conflict(key=KEYS[1], current=None),
    ]
    assert bench.log.latest(TOPIC) == 1


def test_unconditional_changes_always_go(bench: Bench) -> None:
    change = put(event(KEYS[0]), None, expected=None)
    outcomes = bench.log.append(TOPIC, [Unit([change]), Unit([change])])
    assert outcomes == [Appended((1,)), Appended((2,))]


def test_a_refused_unit_leaves_nothing(bench: Bench) -> None:
    bench.log.append(TOPIC, [creation(KEYS[0])])
    before = (every_event(bench.log), bench.log.rows(TOPIC))
    both = Unit([*creation(KEYS[1]).changes, *creation(KEYS[0]).changes])
    assert isinstance(bench.log.append(TOPIC, [both])[0], Conflict)
    assert (every_event(bench.log), bench.log.rows(TOPIC)) == before


def test_one_of_many_racing_creates_wins(bench: Bench) -> None:
    def create(n: int) -> bool:
        (outcome,) = bench.log.append(TOPIC, [creation(KEYS[0], n=n)])
        return isinstance(outcome, Appended)

    won = together(*(partial(create, n) for n in range(20)))
    assert sum(won) == 1
    (only,) = every_event(bench.log)
    assert won[only.value["n"]]


def test_guards_hold_a_limit_against_racing_creates(bench: Bench) -> None:
    limit, creators = 3, 10

    def create(n: int) -> bool:
        while True:
            version = bench.log.owner_version(TOPIC, "alice")
            if bench.log.count(TOPIC, owner="alice") >= limit:
                return False
            (outcome,) = bench.log.append(TOPIC, [guarded(bytes([n]), "alice", version)])
            if isinstance(outcome, Appended):
                return True
            assert outcome.owner == "alice"

    won = together(*(partial(create, n) for n in range(creators)))
    assert sum(won) == limit == bench.log.count(TOPIC, owner="alice")


def test_guards_hold_over_two_logs(shared: Bench) -> None:
    other = shared.open()
    version = other.owner_version(TOPIC, "alice")
    shared.log.append(TOPIC, [creation(KEYS[0])])
    (outcome,) = other.append(TOPIC, [guarded(KEYS[1], "alice", version)])
    assert outcome == Conflict(owner="alice")


def test_no_reader_sees_half_of_a_unit(bench: Bench) -> None:
    done = threading.Event()

    def write() -> None:
        for n in range(40):
            bench.log.append(TOPIC, [Unit([Change(event(key, n=n)) for key in KEYS])])
        done.set()

    def read() -> None:
        while not done.is_set():
            assert bench.log.latest(TOPIC) % len(KEYS) == 0
            assert len(every_event(bench.log)) % len(KEYS) == 0
            assert bench.log.count(TOPIC) in (0, len(KEYS))
            versions = [row.version for row in bench.log.rows(TOPIC)]
            assert not versions or versions == list(range(versions[0], versions[0] + len(KEYS)))

    together(write, read, read)


def test_appends_of_many_threads_all_arrive_in_their_order(bench: Bench) -> None:
    def write(writer: int) -> list[int]:
        ids: list[int] = []
        for n in range(15):
            (outcome,) = bench.log.append(TOPIC, [Unit([Change(event(w=writer, n=n))])])
            assert isinstance(outcome, Appended)
            ids += outcome.ids
        return ids

    ids = together(*(partial(write, writer) for writer in range(8)))
    for mine in ids:
        assert mine == sorted(mine)
    stored = {one.id: (one.value["w"], one.value["n"]) for one in every_event(bench.log)}
    assert stored == {id: (w, n) for w, mine in enumerate(ids) for n, id in enumerate(mine)}
    assert bench.log.wait(TOPIC, 0, PATIENCE) == 8 * 15
