"""Events appended behind our back, by a program that writes no rows: folded before any answer."""

from __future__ import annotations

import pytest

from sessionledger.logs.base import Conflict
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.conformance.rows import ASKING, KEYS, NEWS, assert_rows_are_folded
from sessionledger.testing.fixtures import TIED, TOPIC, Ledger, add, creation, event, every_event


class ForeignWriterConformance(Conformance):
    """A program that knows the events and nothing of our rows."""

    @pytest.mark.parametrize("ask", ASKING)
    def test_what_a_foreign_writer_appended_is_folded_before_any_answer(
        self, beside: Ledger, ask: str
    ) -> None:
        add(beside.log, [event(KEYS[0], n=1), event(KEYS[1])])
        before = ASKING[ask](beside.log)
        beside.append_bare(*NEWS)
        assert ASKING[ask](beside.log) != before
        assert_rows_are_folded(beside.log)

    def test_a_log_that_a_foreign_writer_began_is_folded_from_zero(self, beside: Ledger) -> None:
        beside.append_bare(*(event(KEYS[n % 5], n=n) for n in range(2500)))
        assert beside.log.count(TOPIC) == 5
        assert_rows_are_folded(beside.log)

    @pytest.mark.parametrize("ask", ASKING)
    @pytest.mark.parametrize("between", [0, 1100])
    def test_what_a_foreign_end_takes_along_is_over_before_any_answer(
        self, beside: Ledger, ask: str, between: int
    ) -> None:
        add(beside.log, [event(key, group=TIED) for key in KEYS[:3]])
        add(beside.log, [event(KEYS[3])])
        noise = [event(KEYS[n % 3 + 2], n=n, group=None) for n in range(between)]
        beside.append_bare(event(KEYS[0], live=False), *noise, event(KEYS[1], n=1))
        ASKING[ask](beside.log)
        rows = [beside.log.row(TOPIC, key) for key in KEYS[:4]]
        tied = [False, False, bool(between), True]
        assert [row is not None and row.live for row in rows] == tied
        assert_rows_are_folded(beside.log)
        head = beside.log.latest(TOPIC)
        assert head == 6 + between + (1 if between else 2)
        beside.log.rebuild(TOPIC)
        assert beside.reopen().latest(TOPIC) == head

    def test_conditions_see_what_a_foreign_writer_appended(self, beside: Ledger) -> None:
        beside.append_bare(event(KEYS[0]))
        (outcome,) = beside.log.append(TOPIC, [creation(KEYS[0])])
        assert outcome == Conflict(key=KEYS[0], current=beside.log.row(TOPIC, KEYS[0]))
        assert len(every_event(beside.log)) == 1

    def test_ids_go_on_after_a_foreign_writer_s(self, beside: Ledger) -> None:
        ids = list(add(beside.log, [event()]))
        beside.append_bare(event(KEYS[0]), event())
        ids += add(beside.log, [event(KEYS[0])])
        events = every_event(beside.log)
        assert [one.id for one in events] == sorted({one.id for one in events})
        assert len(events) == 4
        assert [events[0].id, events[-1].id] == ids
