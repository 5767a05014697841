"""Units judged purely, without any log; on every log they are judged by the conformance suite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import Appended, Change, Conflict, InvalidEvent, LogEvent, Row, Unit
from sessionledger.logs import chain, units
from sessionledger.logs.units import BatchState
from sessionledger.testing.fixtures import FOLD, TOPIC, creation, event, rows_of

KEYS = [bytes([n]) * 4 for n in range(4)]


def state(**rows: Row) -> BatchState:
    return BatchState(chain.EMPTY, {row.key: row for row in rows.values()})


class TestPlan:
    """Judging a batch, without any log."""

    def test_units_see_those_before_them(self) -> None:
        planned = units.plan(TOPIC, [creation(KEYS[0]), creation(KEYS[0])], FOLD, state())
        assert planned.outcomes == [
            Appended((1,)),
            Conflict(key=KEYS[0], current=planned.rows[KEYS[0]]),
        ]

    def test_one_failed_condition_stops_the_whole_unit(self) -> None:
        taken = creation(KEYS[0])
        both = Unit([*creation(KEYS[1]).changes, *taken.changes])
        planned = units.plan(TOPIC, [taken, both], FOLD, state())
        assert len(planned.events) == 1
        assert KEYS[1] not in planned.rows

    def test_links_lead_back(self) -> None:
        batch = [Unit([Change(event(key, n=n))]) for n, key in enumerate([KEYS[0], KEYS[1]] * 2)]
        planned = units.plan(TOPIC, batch, FOLD, state())
        assert [(link.id, link.previous) for link in planned.links] == [
            (1, 0),
            (2, 0),
            (3, 1),
            (4, 2),
        ]

    def test_what_was_planned_is_chained(self) -> None:
        planned = units.plan(TOPIC, [creation(key) for key in KEYS], FOLD, state())
        assert chain.verify(TOPIC, planned.events) == planned.head

    @given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 9)), max_size=20))
    def test_planning_folding_and_refolding_agree(self, told: list[tuple[bytes, int]]) -> None:
        happened = [event(key, n=n) for key, n in told]
        batch = [Unit([Change(one)]) for one in happened]
        planned = units.plan(TOPIC, batch, FOLD, state())
        refolded = units.refold(FOLD, planned.events, {}, None)
        assert planned.rows == refolded.rows == rows_of(planned.events)
        assert planned.links == refolded.links

    def test_keys_are_named_once(self) -> None:
        batch = [
            creation(KEYS[0]),
            Unit([Change(event(KEYS[1])), Change(event())]),
            creation(KEYS[0]),
        ]
        assert units.keys_of(batch, FOLD) == [KEYS[0], KEYS[1]]
        assert units.keys_of(batch, None) == [KEYS[0]]
        resting = Unit([Change(event())], reads=[(KEYS[2], 7), (KEYS[0], 0)])
        assert units.keys_of([*batch, resting], None) == [KEYS[0], KEYS[2]]

    def test_what_can_t_be_stored_is_refused(self) -> None:
        with pytest.raises(InvalidEvent, match="at least one"):
            units.check([Unit([])], FOLD)
        with pytest.raises(InvalidEvent, match="fold"):
            units.check([creation(KEYS[0])], None)
        forged = LogEvent.of("k", {}, headers={chain.HASH_HEADER: "sha256:0"})
        with pytest.raises(InvalidEvent, match="record_hash"):
            units.check([Unit([Change(forged)])], FOLD)


def check(event: LogEvent) -> None:
    units.check([Unit([Change(event)])], None)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no json",
        b"NaN",
        b'{"a":1',
        b"{} {}",
        b' {"a":1}',
        b'{"a":\n1}',
        b'"\xff"',
        b"\xff{",
        b'{"a":1}}',
        b"1,2",
        b"[" * 199 + b"]" * 199,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_not_one_line_of_json_concerns_nobody_else(payload: bytes) -> None:
    with pytest.raises(InvalidEvent):
        check(LogEvent("kind", payload, {}, 0))


@pytest.mark.parametrize(
    "told",
    [
        LogEvent("\ud800", b"1", {}, 0),
        LogEvent("kind", b"1", {"a": "\ud800"}, 0),
        LogEvent("kind", b"1", {"\ud800": "a"}, 0),
    ],
)
def test_what_is_no_text_concerns_nobody_else(told: LogEvent) -> None:
    with pytest.raises(InvalidEvent):
        check(told)


@pytest.mark.parametrize("payload", [b"1", b'"a b"', b'{"a": 1}', b"[" * 198 + b"]" * 198])
def test_any_other_json_is_taken(payload: bytes) -> None:
    check(LogEvent("kind", payload, {"a": "b"}, 0))
