"""Which events may be removed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sessionledger.errors import CorruptLog
from sessionledger.logs import units
from sessionledger.logs.base import Change, LogEvent, StoredEvent, Unit
from sessionledger.logs.chain import EMPTY, Head
from sessionledger.logs.compaction.choice import Choice, Limits
from sessionledger.testing.fixtures import FOLD, LIFTED, MARKED, TOPIC, event

YOUNG, FUTURE = 100, 200


def at(happened: LogEvent, ms: int) -> LogEvent:
    return LogEvent(happened.kind, happened.payload, happened.headers, ms)


def stored(*given: Sequence[LogEvent]) -> list[StoredEvent]:
    """The events of some units, chained."""
    batch = [Unit([Change(one) for one in unit]) for unit in given]
    return units.plan(TOPIC, batch, None, units.BatchState(EMPTY, {})).events


def chosen(events: list[StoredEvent], *, last: int = 10**9, accepted: int = 0) -> Choice:
    choice = Choice(TOPIC, EMPTY, FOLD, Limits(YOUNG, FUTURE, last, accepted))
    choice.see(events)
    return choice


def simple(*times: int) -> list[StoredEvent]:
    return stored(*([at(event(b"k", n=n), ms)] for n, ms in enumerate(times)))


def test_events_before_the_first_young_one_go() -> None:
    choice = chosen(simple(1, 50, 100, 101, 2))
    assert (choice.removal.head.id, choice.removal.events, choice.removal.newest_ms) == (3, 3, 100)
    assert choice.removal.bytes > 0


def test_an_event_from_the_future_keeps_nothing() -> None:
    choice = chosen(simple(1, 201, 3, 150))
    assert (choice.removal.head.id, choice.removal.newest_ms) == (3, 100)


def test_a_unit_goes_as_a_whole_or_not_at_all() -> None:
    whole = stored([at(event(b"a"), 1)], [at(event(b"b"), 1), at(event(b"c"), 1)])
    assert chosen(whole).removal.head.id == 3
    for last in (1, 2):
        choice = chosen(whole, last=last)
        assert (choice.removal.head.id, choice.is_held_back) == (1, True)
    torn = stored([at(event(b"a"), 1)], [at(event(b"b"), 1), at(event(b"c"), 150)])
    assert chosen(torn).removal.head.id == 1


def test_a_mark_goes_only_together_with_what_lifts_it() -> None:
    begun = [at(event(b"a"), 1)]
    marked, lifted = LogEvent.of(MARKED, {}), LogEvent.of(LIFTED, {"mark": 2})
    later = [at(event(b"a", n=2), 1)]
    assert chosen(stored(begun, [at(marked, 1)], later)).removal.head.id == 1
    after = stored(begun, [at(marked, 1)], later, [at(lifted, 1)])
    assert chosen(after).removal.head.id == 4
    assert chosen(after, last=3).removal.head.id == 1


def test_a_cursor_keeps_what_its_consumer_has_yet_to_read() -> None:
    choice = chosen(simple(1, 2, 3), last=2)
    assert (choice.removal.head.id, choice.is_held_back) == (2, True)
    assert not chosen(simple(1, 2, 3), last=3).is_held_back
    assert chosen(simple(1, 2, 150), last=2).is_held_back is False


def test_a_break_stops_it_unless_it_is_accepted() -> None:
    events = simple(1, 2, 3)
    changed = StoredEvent(2, "other", events[1].payload, events[1].headers, 2)
    broken = [events[0], changed, events[2]]
    with pytest.raises(CorruptLog, match="event 2"):
        chosen(broken)
    with pytest.raises(CorruptLog):
        chosen(broken, accepted=1)
    assert chosen(broken, accepted=2).removal.head.id == 3


def test_the_chain_is_followed_from_the_last_cut() -> None:
    events = simple(1, 2, 3)
    start = Head(1, events[0].headers["harn.provenance.record_hash"])
    choice = Choice(TOPIC, start, FOLD, Limits(YOUNG, FUTURE, 9))
    assert choice.see(events[1:])
    assert choice.removal.events == 2
    wrong = Choice(TOPIC, Head(1, "sha256:" + "0" * 64), FOLD, Limits(YOUNG, FUTURE, 9))
    with pytest.raises(CorruptLog):
        wrong.see(events[1:])
