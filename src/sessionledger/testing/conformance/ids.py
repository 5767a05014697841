"""Ids: strictly increasing, never rewound, never reused. They may leave gaps."""

from __future__ import annotations

import pytest

from sessionledger.logs import chain
from sessionledger.logs.base import Appended, Conflict, Log
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import TOPIC, Ledger, add, creation, event, every_event

KEY = b"once"


def ids_of(log: Log) -> list[int]:
    """The ids of the whole topic."""
    return [one.id for one in every_event(log)]


class IdConformance(Conformance):
    """An id names one event, for ever."""

    def test_ids_increase_strictly(self, ledger: Ledger) -> None:
        ids = add(ledger.log, [event(n=n) for n in range(5)])
        ids += add(ledger.log, [event(n=5)])
        assert ids[0] >= 1
        assert list(ids) == sorted(set(ids)) == ids_of(ledger.log)
        assert ledger.log.latest(TOPIC) == ids[-1]

    def test_a_refused_append_rewinds_nothing(self, ledger: Ledger) -> None:
        (first,) = ledger.log.append(TOPIC, [creation(KEY)])
        assert isinstance(first, Appended)
        for _ in range(3):
            (refused,) = ledger.log.append(TOPIC, [creation(KEY)])
            assert isinstance(refused, Conflict)
        assert ids_of(ledger.log) == list(first.ids)
        assert add(ledger.log, [event()]) > first.ids
        assert ids_of(ledger.log) == sorted(set(ids_of(ledger.log)))

    def test_rebuilding_rewinds_nothing(self, ledger: Ledger) -> None:
        before = add(ledger.log, [event(KEY), event()])
        ledger.log.rebuild(TOPIC)
        assert ledger.log.latest(TOPIC) == before[-1]
        assert add(ledger.log, [event()])[0] > before[-1]

    def test_ids_are_not_reused_after_reopening(self, persistent: Ledger) -> None:
        seen: list[int] = []
        for n in range(4):
            seen += add(persistent.reopen(), [event(n=n), event(n=-n)])
        assert seen == sorted(set(seen))
        assert ids_of(persistent.reopen()) == seen

    def test_ids_are_not_reused_after_everything_was_removed(self, emptied: Ledger) -> None:
        before = add(emptied.log, [event(n=n) for n in range(5)])
        log = emptied.empty()
        assert every_event(log) == []
        assert log.latest(TOPIC) == before[-1]
        after = add(log, [event()])
        assert after[0] > before[-1]
        assert ids_of(emptied.reopen()) == list(after)
        log = emptied.empty()
        assert add(log, [event()])[0] > after[-1]

    def test_keys_are_not_reused_after_everything_was_removed(self, emptied: Ledger) -> None:
        emptied.log.append(TOPIC, [creation(KEY)])
        row = emptied.log.row(TOPIC, KEY)
        log = emptied.empty()
        assert log.row(TOPIC, KEY) == row
        assert log.append(TOPIC, [creation(KEY)]) == [Conflict(key=KEY, current=row)]

    def test_the_chain_goes_on_after_reopening(self, persistent: Ledger) -> None:
        if not persistent.log.describe().chained:
            pytest.skip("the log says that it is not chained")
        for n in range(3):
            add(persistent.reopen(), [event(n=n), event(n=n)])
        events = every_event(persistent.reopen())
        assert chain.verify(TOPIC, events) == chain.head_after(events[-1])
