"""A log shows itself as it stands, in one state, and adds what only it knows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sessionledger.errors import InvalidEvent, StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs.base import View
from sessionledger.testing.bench import TOPIC, Bench, add, creation, event, every_event, rows_of
from sessionledger.testing.conformance.bases import Conformance

FOUND = Finding("unknown_kind", "note", "event 1", "is strange", "nothing")


class ExaminationConformance(Conformance):
    """Looking changes nothing, and what is looked at stands still."""

    def test_a_view_has_all_events_and_all_rows_in_pages(self, bench: Bench) -> None:
        keys = [bytes([n]) * 32 for n in (7, 3, 5, 1)]
        bench.log.append(TOPIC, [creation(key) for key in keys])
        add(bench.log, [event(keys[0], expires=5), event()])

        def check(view: View) -> Sequence[Finding]:
            events = every_event(bench.log)
            assert view.head == view.folded == events[-1].id
            assert view.events(0, 100) == events
            for before, one in zip([0, *(each.id for each in events)], events, strict=False):
                assert view.events(before, 1) == [one]
            assert view.events(events[-1].id, 1) == []
            rows = [row for _, row in sorted(rows_of(events).items())]
            assert view.rows(b"", 100) == rows
            assert view.rows(rows[0].key, 2) == rows[1:3]
            assert view.rows(rows[-1].key, 1) == []
            return [FOUND]

        assert bench.log.examine(TOPIC, check) == [FOUND]

    def test_looking_folds_nothing(self, beside: Bench) -> None:
        beside.log.append(TOPIC, [creation(b"1" * 32)])
        beside.append_bare(event(b"2" * 32))
        seen: list[tuple[bool, int]] = []

        def check(view: View) -> Sequence[Finding]:
            seen.append((view.folded == view.head, len(view.rows(b"", 10))))
            return []

        for _ in range(2):
            beside.log.examine(TOPIC, check)
        assert beside.log.count(TOPIC) == 2
        beside.log.examine(TOPIC, check)
        assert seen[0] == seen[1] != seen[2] == (True, 2)

    def test_a_view_stays_what_it_is(self, bench: Bench) -> None:
        bench.log.append(TOPIC, [creation(b"1" * 32)])

        def check(view: View) -> Sequence[Finding]:
            bench.log.append(TOPIC, [creation(b"2" * 32)])
            add(bench.log, [event(b"1" * 32)])
            assert bench.log.latest(TOPIC) == 3
            assert (view.head, len(view.events(0, 10))) == (1, 1)
            assert [(row.key, row.version) for row in view.rows(b"", 10)] == [(b"1" * 32, 1)]
            return []

        assert bench.log.examine(TOPIC, check) == []

    def test_a_check_that_raises_leaves_the_log_as_it_was(self, bench: Bench) -> None:
        def check(view: View) -> Sequence[Finding]:
            assert view.head == 0
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            bench.log.examine(TOPIC, check)
        assert bench.log.examine(TOPIC, lambda view: [FOUND] if view.events(0, 1) else []) == []
        assert add(bench.log, [event()]) == (1,)

    def test_an_empty_topic_a_bad_one_and_a_closed_log(self, bench: Bench) -> None:
        def check(view: View) -> Sequence[Finding]:
            assert (view.head, view.folded, view.events(0, 1), view.rows(b"", 1)) == (0, 0, [], [])
            return []

        assert bench.log.examine("nobody.wrote.here", check) == []
        with pytest.raises(InvalidEvent):
            bench.log.examine("no/topic", check)
        bench.log.close()
        with pytest.raises(StoreClosed):
            bench.log.examine(TOPIC, check)
