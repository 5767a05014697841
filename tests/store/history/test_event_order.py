"""Events backwards, and those between two instants."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import StoredEvent
from sessionledger.core.annotations import ERASED
from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.store.history.event_order import events_before, ids_within

RESTORED = 1_790_000_000_000_000
"""An id as a restore makes them: microseconds since 1970."""
DAY_MS = 86_400_000
TOLERANCE_MS = CLOCK_TOLERANCE // timedelta(milliseconds=1)

gaps = st.lists(st.sampled_from([1, 1, 1, 1, 2, 7, 1000, 10**9, RESTORED]), max_size=60)


def event(id: int, at_ms: int = 0, *, is_stub: bool = False) -> StoredEvent:
    return StoredEvent(id, "session_created", b"{}", {ERASED: "1"} if is_stub else {}, at_ms)


class Topic:
    """Answers reads of some events, and counts them."""

    def __init__(self, events: list[StoredEvent]) -> None:
        self.events = events
        self.reads = 0

    def read(self, after: int, limit: int) -> list[StoredEvent]:
        self.reads += 1
        return [one for one in self.events if one.id > after][:limit]


def with_gaps(gaps: list[int]) -> list[StoredEvent]:
    ids = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    return [event(id) for id in ids]


@given(gaps, st.data(), st.integers(1, 20), st.booleans())
def test_events_go_backwards_whatever_ids_are_missing(
    gaps: list[int], data: st.DataObject, limit: int, is_dense: bool
) -> None:
    events = with_gaps(gaps)
    newest = events[-1].id if events else 5
    low = data.draw(st.integers(0, newest))
    high = data.draw(st.integers(low, newest + 1))
    expected = [one for one in reversed(events) if low < one.id <= high][:limit]
    read = Topic(events).read
    assert events_before(read, high, low, limit, is_dense=is_dense) == expected


@pytest.mark.parametrize("is_dense", [True, False])
def test_a_gap_that_a_restore_left_is_jumped_over(is_dense: bool) -> None:
    topic = Topic([event(id) for id in (*range(1, 2001), *range(RESTORED, RESTORED + 10))])
    found = events_before(topic.read, RESTORED + 9, 0, 500, is_dense=is_dense)
    assert [one.id for one in found] == [
        *range(RESTORED + 9, RESTORED - 1, -1),
        *range(2000, 1510, -1),
    ]
    assert topic.reads < 150


def test_pages_of_a_topic_without_gaps_take_one_read_each() -> None:
    topic = Topic([event(id) for id in range(1, 5001)])
    assert len(events_before(topic.read, 5000, 0, 1000, is_dense=True)) == 1000
    assert topic.reads == 1


@given(
    gaps,
    st.lists(st.integers(0, 30_000), min_size=60, max_size=60),
    st.lists(st.integers(-TOLERANCE_MS // 2, TOLERANCE_MS // 2), min_size=60, max_size=60),
    st.sets(st.integers(0, 59)),
    st.tuples(st.integers(-1, 2_000_000), st.integers(-1, 2_000_000)),
)
def test_no_event_between_two_instants_lies_outside_of_the_ids(
    gaps: list[int],
    steps: list[int],
    errors: list[int],
    stubs: set[int],
    span: tuple[int, int],
) -> None:
    day = 20_000 * DAY_MS
    events = []
    for n, one in enumerate(with_gaps(gaps)):
        at = day + sum(steps[: n + 1]) + errors[n]
        is_stub = n in stubs
        events.append(event(one.id, at - at % DAY_MS if is_stub else at, is_stub=is_stub))
    since, until = (day + at for at in sorted(span))
    newest = events[-1].id if events else 0
    low, high = ids_within(Topic(events).read, 0, newest, since, until)
    told = [one for one in events if ERASED not in one.headers]
    wanted = {one.id for one in told if since <= one.occurred_at_ms < until}
    assert wanted <= {one.id for one in events if low < one.id <= high}


def test_a_range_of_a_long_topic_is_found_by_few_reads() -> None:
    topic = Topic([event(RESTORED * (id > 500) + id, id * 60_000) for id in range(1, 1001)])
    newest = topic.events[-1].id
    low, high = ids_within(topic.read, 0, newest, 300 * 60_000, 310 * 60_000)
    assert low in range(280, 300)
    assert high in range(310, 340)
    assert topic.reads < 250


def test_one_event_with_an_earlier_time_misleads_nobody() -> None:
    """The end of a child that a foreign program left behind has the time of its parent's end."""
    times = [0 if id % 20 == 0 else id * 600_000 for id in range(1, 400)]
    topic = Topic([event(id, at) for id, at in enumerate(times, 1)])
    for since in range(10, 390, 7):
        low, _ = ids_within(topic.read, 0, 399, since * 600_000, None)
        assert since - 20 < low <= since


MINUTE_MS = 60_000


def test_a_clock_that_is_a_minute_ahead_hides_no_event() -> None:
    """Forty events follow one whose clock is ahead, or come before one that is behind."""
    ahead = Topic([event(1, 100_000), *(event(id, 41_000 + id) for id in range(2, 42))])
    low, _ = ids_within(ahead.read, 0, 41, 100_000, None)
    assert low == 0
    behind = Topic([*(event(id, 100_000 + id) for id in range(1, 41)), event(41, 50_000)])
    _, high = ids_within(behind.read, 0, 41, None, 50_001)
    assert high == 41


def test_the_stubs_of_a_day_hide_no_event() -> None:
    begun = [event(id, id * MINUTE_MS) for id in range(1, 200)]
    stubs = [event(id, 0, is_stub=True) for id in range(200, 400)]
    topic = Topic([*begun, *stubs, *(event(id, id * MINUTE_MS) for id in range(400, 500))])
    low, _ = ids_within(topic.read, 0, 499, 150 * MINUTE_MS, None)
    assert 100 < low < 150
