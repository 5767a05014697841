"""An examination sees a log in one state, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sessionledger.findings import Finding
from sessionledger.logs.base import View
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import TOPIC, Ledger, add, creation, event, every_event, rows_of

FOUND = Finding("unknown_kind", "note", "event 1", "is strange", "nothing")


class ExaminationConformance(Conformance):
    """Looking changes nothing, and is not disturbed by what changes meanwhile."""

    def test_a_view_has_all_events_and_all_rows_in_pages(self, ledger: Ledger) -> None:
        keys = [bytes([n]) * 32 for n in (7, 3, 5, 1)]
        ledger.log.append(TOPIC, [creation(key) for key in keys])
        add(ledger.log, [event(keys[0], expires=5), event()])
        events = every_event(ledger.log)
        rows = [row for _, row in sorted(rows_of(events).items())]

        def check(view: View) -> Sequence[Finding]:
            assert (view.head, view.folded) == (events[-1].id, events[-1].id)
            assert view.events(0, 100) == events
            assert view.events(events[1].id, 2) == events[2:4]
            assert view.events(events[-1].id, 1) == []
            assert view.rows(b"", 100) == rows
            assert view.rows(rows[0].key, 2) == rows[1:3]
            assert view.rows(rows[-1].key, 1) == []
            return [FOUND]

        assert ledger.log.examine(TOPIC, check)[-1] == FOUND

    def test_a_view_says_whether_events_are_chained(self, ledger: Ledger) -> None:
        chained = ledger.log.describe().chained

        def check(view: View) -> Sequence[Finding]:
            assert view.chained == chained
            return [FOUND]

        assert ledger.log.examine(TOPIC, check)[-1] == FOUND

    def test_looking_folds_nothing(self, beside: Ledger) -> None:
        beside.log.append(TOPIC, [creation(b"1" * 32)])
        beside.append_bare(event(b"2" * 32))
        seen: list[tuple[int, int | None, int]] = []

        def check(view: View) -> Sequence[Finding]:
            seen.append((view.head, view.folded, len(view.rows(b"", 10))))
            return []

        for _ in range(2):
            beside.log.examine(TOPIC, check)
        assert beside.log.count(TOPIC) == 2
        beside.log.examine(TOPIC, check)
        head = beside.log.latest(TOPIC)
        assert seen[0] == seen[1]
        assert seen[2] == (head, head, 2)

    def test_a_view_stays_what_it_is(self, ledger: Ledger) -> None:
        """And nothing is held meanwhile: who looks may append."""
        ledger.log.append(TOPIC, [creation(b"1" * 32)])
        head = ledger.log.latest(TOPIC)

        def check(view: View) -> Sequence[Finding]:
            ledger.log.append(TOPIC, [creation(b"2" * 32)])
            add(ledger.log, [event(b"1" * 32)])
            assert ledger.log.latest(TOPIC) > head
            assert (view.head, len(view.events(0, 10))) == (head, 1)
            assert [(row.key, row.version) for row in view.rows(b"", 10)] == [(b"1" * 32, head)]
            return [FOUND]

        assert ledger.log.examine(TOPIC, check)[-1] == FOUND

    def test_a_check_that_raises_leaves_the_log_as_it_was(self, ledger: Ledger) -> None:
        def check(_: View) -> Sequence[Finding]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ledger.log.examine(TOPIC, check)
        add(ledger.log, [event()])
        assert len(every_event(ledger.log)) == 1

    def test_a_topic_that_nobody_wrote_to_is_shown_empty(self, ledger: Ledger) -> None:
        def check(view: View) -> Sequence[Finding]:
            assert (view.head, view.folded, view.events(0, 1), view.rows(b"", 1)) == (0, 0, [], [])
            return [FOUND]

        assert ledger.log.examine("nobody.wrote.here", check)[-1] == FOUND
