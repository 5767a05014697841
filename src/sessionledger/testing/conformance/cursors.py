"""Consumers' cursors: durable, and never going back."""

from __future__ import annotations

from functools import partial

from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import TOPIC, Ledger, add, concurrently, event


class CursorConformance(Conformance):
    """What a consumer is done with."""

    def test_a_cursor_never_goes_back(self, ledger: Ledger) -> None:
        ledger.log.ack(TOPIC, "mailer", 7)
        ledger.log.ack(TOPIC, "mailer", 3)
        assert ledger.log.cursor(TOPIC, "mailer") == 7

    def test_cursors_are_apart(self, ledger: Ledger) -> None:
        ledger.log.ack(TOPIC, "mailer", 7)
        ledger.log.ack("elsewhere", "mailer", 2)
        assert ledger.log.cursor(TOPIC, "other") == 0
        assert ledger.log.cursor("elsewhere", "mailer") == 2
        assert ledger.log.cursor("nowhere", "mailer") == 0

    def test_racing_acknowledgements_leave_the_furthest(self, ledger: Ledger) -> None:
        def acknowledge(first: int) -> None:
            for cursor in range(first, 60, 6):
                ledger.log.ack(TOPIC, "mailer", cursor)

        concurrently(*(partial(acknowledge, first) for first in range(6)))
        assert ledger.log.cursor(TOPIC, "mailer") == 59

    def test_cursors_survive_reopening(self, persistent: Ledger) -> None:
        persistent.log.ack(TOPIC, "mailer", 7)
        log = persistent.reopen()
        assert log.cursor(TOPIC, "mailer") == 7
        log.ack(TOPIC, "mailer", 5)
        assert persistent.reopen().cursor(TOPIC, "mailer") == 7

    def test_a_consumer_goes_on_where_it_was_after_reopening(self, persistent: Ledger) -> None:
        handled: list[int] = []
        for round in range(3):
            log = persistent.reopen()
            add(log, [event(n=round * 2), event(n=round * 2 + 1)])
            for one in log.read(TOPIC, log.cursor(TOPIC, "mailer")):
                handled.append(one.value["n"])
                log.ack(TOPIC, "mailer", one.id)
        assert handled == list(range(6))
