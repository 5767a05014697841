"""A fork with the log open: the child goes on with it, or is told that it can't."""

from __future__ import annotations

import os

import pytest

from sessionledger.errors import LogUnavailable
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.conformance.names import CALLS
from sessionledger.testing.conformance.rows import assert_rows_are_folded
from sessionledger.testing.fixtures import TOPIC, Ledger, add, creation, event, every_event
from sessionledger.testing.forked_child import fork, in_fork, reap

KEY = b"key"
CHILDREN = 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
class ForkConformance(Conformance):
    """Parent and child never harm each other."""

    def test_parent_and_child_both_go_on(self, forking: Ledger) -> None:
        before = add(forking.log, [event(KEY)])

        def go_on() -> None:
            assert every_event(forking.log)[0].id == before[0]
            for _ in range(10):
                (mine,) = add(forking.log, [event(KEY, n=1)])
                row = forking.log.row(TOPIC, KEY)
                assert row is not None
                assert row.version >= mine

        children = [fork(go_on) for _ in range(CHILDREN)]
        add(forking.log, [event(KEY, n=2) for _ in range(10)])
        assert [reap(child) for child in children] == [0] * CHILDREN
        assert len(every_event(forking.log)) == 1 + 10 * (CHILDREN + 1)
        assert_rows_are_folded(forking.log)

    def test_what_a_child_appended_is_in_the_next_answer(self, forking: Ledger) -> None:
        assert forking.log.row(TOPIC, KEY) is None
        in_fork(lambda: forking.log.append(TOPIC, [creation(KEY)]))
        row = forking.log.row(TOPIC, KEY)
        assert row is not None
        assert row.version == forking.log.latest(TOPIC)

    def test_a_child_that_closes_takes_nothing_from_its_parent(self, forking: Ledger) -> None:
        add(forking.log, [event(KEY)])
        in_fork(forking.log.close)
        add(forking.log, [event(KEY)])
        in_fork(lambda: add(forking.log, [event(KEY)]))
        assert len(every_event(forking.log)) == 3

    def test_a_child_of_a_log_that_can_t_be_forked_is_told(self, ledger: Ledger) -> None:
        if ledger.harness.forks:
            pytest.skip("the harness declares `forks`")
        add(ledger.log, [event(KEY)])

        def ask() -> None:
            for call in CALLS.values():
                if call is not CALLS["fold_with"]:
                    with pytest.raises(LogUnavailable):
                        call(ledger.log, TOPIC)

        in_fork(ask)
        add(ledger.log, [event(KEY)])
        assert len(every_event(ledger.log)) == 2
        assert_rows_are_folded(ledger.log)
