"""activity: how much happened, by hours and days, at a bounded cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import (
    ActivityInterval,
    InvalidSession,
    LogUnavailable,
    SessionStore,
    StoredEvent,
)
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.store.history import activity
from sessionledger.testing.clock import NOON, Clock
from tests.logs.openers import address
from tests.store.conftest import TOKEN
from tests.store.history.scenes import Calls, calls, ledger, perform

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SOON = timedelta(microseconds=1)
SPANS = {"hour": HOUR, "day": DAY}


class CountedLog(MemoryLog):
    """A log that counts the events that are read from the topic."""

    read_events = 0

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        found = super().read(topic, after, limit)
        self.read_events += len(found)
        return found


def floored(at: datetime, span: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return at - (at - epoch) % span


def plainly(
    store: SessionStore, since: datetime, until: datetime, per: str
) -> list[ActivityInterval]:
    """The same, by a look at every event."""
    span, counts = SPANS[per], dict[datetime, Counter[str]]()
    first = at = floored(since, span)
    while at < until:
        counts[at] = Counter()
        at += span
    reuses = []
    for event in store.events():
        happened_at = datetime.fromtimestamp(event.occurred_at_ms / 1000, UTC)
        interval = counts.get(floored(happened_at, span), Counter())
        payload = json.loads(event.payload)
        if event.kind == "session_created":
            record = payload["record"]
            kind = "rotated" if "family" in record else "begun"
            interval["children" if kind == "begun" and "ancestors" in record else kind] += 1
        elif event.kind == "session_expired":
            interval[":" + payload.get("cause", "signed_out")] += 1
            reuses += [happened_at] if payload.get("cause") == "reused" else []
        elif event.kind == "everybody_revoked":
            interval["everybody"] += 1
    for happened_at, _ in groupby(sorted(reuses)):
        counts.get(floored(happened_at, span), Counter())["reused"] += 1
    assert first == min(counts)
    names = ("begun", "rotated", "children", "reused", "everybody")
    return [
        ActivityInterval(
            begins_at=at,
            ended={name[1:]: n for name, n in interval.items() if name[0] == ":"},
            **{name: interval[name] for name in names},
        )
        for at, interval in counts.items()
    ]


@given(
    st.lists(calls, min_size=1, max_size=4), st.sampled_from(["hour", "day"]), st.integers(1, 30)
)
def test_it_is_a_count_of_all_events(made: list[Calls], per: str, page: int) -> None:
    store, clock = ledger()
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(activity, "EVENT_PAGE", page)
        for some in made:
            perform(store, clock, some)
            since = clock.now - 20 * HOUR
            told = store.activity(since=since, per=per)
            assert told.intervals == plainly(store, since, clock.now + SOON, per)
            assert told.counted_from == told.intervals[0].begins_at
            until = clock.now - 2 * HOUR
            earlier = store.activity(since=since, until=until, per=per)
            assert earlier.intervals == plainly(store, since, until, per)


@given(calls, st.integers(1, 12), st.integers(1, 5))
def test_calls_that_stop_at_the_bound_reach_all_events_in_the_end(
    made: Calls, most: int, page: int
) -> None:
    store, clock = ledger()
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(activity, "EVENT_PAGE", page)
        patching.setattr(activity, "MOST_COUNTED", most)
        perform(store, clock, made)
        since, count = clock.now - 20 * HOUR, len(list(store.events()))
        expected = plainly(store, since, clock.now + SOON, "hour")
        for _ in range(count + 2):
            told = store.activity(since=since)
            for one, other in zip(told.intervals, expected, strict=True):
                assert one == other or one.begins_at < told.counted_from
                assert one.begun <= other.begun
            assert told.more == (told.counted_from > told.intervals[0].begins_at)
        assert told.intervals == expected
        assert told.counted_from == told.intervals[0].begins_at


def test_what_was_counted_is_not_read_again() -> None:
    log = CountedLog()
    store, clock = ledger(log)
    for _ in range(5000):
        store.create("alice")
    assert store.activity(since=NOON).intervals[0].begun == 5000
    for _ in range(3):
        clock.advance(MINUTE)
        store.create("alice")
        log.read_events = 0
        assert store.activity(since=NOON).intervals[0].ended == {}
        assert log.read_events < 10
    assert store.activity(since=NOON, per="day").intervals[0].begun == 5003
    assert log.read_events < 10


def test_a_call_reads_a_bounded_number_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST_COUNTED", 2000)
    log = CountedLog()
    store, clock = ledger(log)
    for _ in range(6):
        for _ in range(1000):
            store.create("alice")
        clock.advance(HOUR)
    log.read_events = 0
    told = store.activity(since=NOON)
    assert log.read_events < 2100
    assert NOON + 4 * HOUR < told.counted_from <= NOON + 4 * HOUR + 2 * MINUTE
    assert [one.begun for one in told.intervals] == [0, 0, 0, 0, 1000, 1000, 0]
    told = store.activity(since=NOON)
    assert [one.begun for one in told.intervals] == [0, 0, 1000, 1000, 1000, 1000, 0]
    # So much happens between two calls that they can't meet.
    for _ in range(3000):
        store.create("alice")
    told = store.activity(since=NOON)
    assert [one.begun for one in told.intervals] == [0, 0, 0, 0, 0, 0, 2000]
    assert told.counted_from > clock.now


def test_logins_rotations_and_children_are_told_apart(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN)
    store.create("service", parent=TOKEN)
    rotated = store.rotate(TOKEN, grace=timedelta(0))
    assert rotated is not None
    store.authenticate(TOKEN)
    (hour,) = store.activity(since=clock.now).intervals
    assert (hour.begun, hour.children, hour.rotated, hour.reused) == (1, 1, 1, 1)
    assert hour.ended == {"rotated": 1, "reused": 2, "parent_ended": 1}
    assert store.get(rotated.token) is None


def test_an_end_of_everybody_is_one_event_and_its_ends_count_as_they_are_recorded(
    store: SessionStore, clock: Clock
) -> None:
    for _ in range(3):
        store.create("alice")
    store.revoke_where(principals=["alice"])
    store.create("bob")
    store.revoke_everybody()
    (hour,) = store.activity(since=clock.now).intervals
    assert (hour.everybody, hour.ended) == (1, {"revoked": 3})
    clock.advance(HOUR)
    store.sweep()
    assert [one.ended for one in store.activity(since=NOON).intervals] == [
        {"revoked": 3},
        {"everybody": 1},
    ]


def test_a_day_is_a_day_of_utc(store: SessionStore, clock: Clock) -> None:
    clock.now = datetime(2026, 5, 2, 23, 59, tzinfo=UTC)
    store.create("alice")
    clock.advance(2 * MINUTE)
    store.create("alice")
    told = store.activity(since=clock.now - HOUR, until=clock.now, per="day").intervals
    assert [(one.begins_at.day, one.begun) for one in told] == [(2, 1), (3, 1)]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"since": NOON, "per": "week"}, "per"),
        ({"since": NOON.replace(tzinfo=None)}, "since"),
        ({"since": NOON, "until": "now"}, "until"),
        ({"since": NOON + HOUR}, "since"),
        ({"since": NOON - 1001 * HOUR}, "since"),
        ({"since": NOON - 401 * DAY, "per": "day"}, "since"),
        ({"since": NOON, "until": NOON - HOUR}, "until"),
    ],
)
def test_what_can_not_be_counted_is_refused(
    store: SessionStore, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.activity(**asked)
    assert caught.value.field == field


def test_only_so_many_counts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "EVENT_PAGE", 2)
    monkeypatch.setattr(activity, "MOST_KEPT", 8)
    store, clock = ledger()
    for _ in range(20):
        store.create("alice")
        clock.advance(HOUR)
    for hours, is_kept in ((4, True), (15, False), (4, True)):
        since = clock.now - hours * HOUR
        told = store.activity(since=since).intervals
        assert told == plainly(store, since, clock.now + SOON, "hour")
        assert (store._engine.counted is not None) == is_kept


def test_a_call_that_fails_half_way_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "EVENT_PAGE", 2)
    log = MemoryLog()
    store, clock = ledger(log)
    for _ in range(9):
        store.create("alice")
        clock.advance(HOUR)
    assert store.activity(since=clock.now - 2 * HOUR).intervals[0].begun == 1
    read, left = log.read, [2]

    def failing(*given: Any) -> list[StoredEvent]:
        left[0] -= 1
        if left[0] < 0:
            raise LogUnavailable("gone")
        return read(*given)

    monkeypatch.setattr(log, "read", failing)
    with pytest.raises(LogUnavailable):
        store.activity(since=NOON)
    monkeypatch.setattr(log, "read", read)
    told = store.activity(since=NOON).intervals
    assert told == plainly(store, NOON, clock.now + SOON, "hour")


def test_a_look_at_what_was_long_ago_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "EVENT_PAGE", 16)
    store, clock = ledger()
    for _ in range(200):
        store.create("alice")
        clock.advance(HOUR)
    store.activity(since=clock.now - 2 * HOUR)
    kept = store._engine.counted
    since, until = NOON, NOON + 5 * HOUR
    assert store.activity(since=since, until=until).intervals == plainly(
        store, since, until, "hour"
    )
    assert store._engine.counted is kept


def test_the_counts_of_another_topic_are_its_own() -> None:
    store, clock = ledger()
    store.create("alice")
    other = store.on_topic("keys")
    assert [one.begun for one in store.activity(since=clock.now).intervals] == [1]
    assert [one.begun for one in other.activity(since=clock.now).intervals] == [0]


@pytest.fixture(params=["sqlite", "file"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SessionStore, Clock]]:
    clock = Clock()
    url = address(str(request.param), tmp_path / "ledger")
    with SessionStore.open(url, clock=clock, monotonic=lambda: clock.now.timestamp()) as store:
        yield store, clock


def test_what_a_compaction_removed_is_said_to_be_missing(
    stores: tuple[SessionStore, Clock],
) -> None:
    store, clock = stores
    store.expire(store.create("alice", ttl=90 * DAY).token)
    clock.advance(3 * DAY)
    store.create("alice", ttl=90 * DAY)
    begun = [one.begun for one in store.activity(since=NOON, per="day").intervals]
    assert begun == [1, 0, 0, 1]
    assert store.compact(retention=2 * DAY).cut == 2
    # What this process has counted it still knows.
    told = store.activity(since=NOON, per="day")
    assert [one.begun for one in told.intervals] == begun
    assert told.counted_from == told.intervals[0].begins_at
    other = SessionStore(store._log, clock=clock).activity(since=NOON, per="day")
    assert [one.begun for one in other.intervals] == [0, 0, 0, 1]
    assert NOON + 2 * DAY < other.counted_from <= clock.now + 2 * MINUTE
    assert not other.more
