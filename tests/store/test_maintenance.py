"""Rounds of maintenance: what they do, when, and what is left of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionledger import (
    AsyncSessionStore,
    CorruptLog,
    InvalidSession,
    LogEvent,
    SessionStore,
    StoreClosed,
    Unit,
    open_log,
)
from sessionledger.logs.adapters.immediate import drive
from sessionledger.logs.base import Change
from sessionledger.store.audit.diagnosis import session_check
from sessionledger.store.audit.reports import LAST_RUNS
from sessionledger.store.maintenance import Maintenance
from sessionledger.testing import Clock
from sessionledger.testing.fixtures import PATIENCE, until
from tests.logs import bare_sqlite
from tests.logs.openers import address
from tests.store.operations.test_authenticate import Told
from tests.store.operations.test_sweep import in_thread

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
RETENTION = 2 * DAY
TOPIC = "orchestrator.sessions"
KEYS = "sessionledger.keys"

COMPACTABLE = ["memory", "sqlite", "file", pytest.param("postgresql", marks=pytest.mark.slow)]
SHARED = COMPACTABLE[1:]


class Place:
    """Stores of both topics on one log, which is opened as often as somebody asks."""

    def __init__(self, backend: str, path: Path) -> None:
        self.path = path
        self.url = address(backend, path)
        self.clock = Clock()
        self.told = Told()
        self.log = open_log(self.url)
        self.store, self.keys = self.on(TOPIC), self.on(KEYS)

    def on(self, topic: str) -> SessionStore:
        return SessionStore(self.log, topic=topic, **self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "clock": self.clock,
            "monotonic": lambda: self.clock.now.timestamp(),
            "on_error": self.told,
        }

    def lives(self, days: int = 5) -> None:
        """Some sessions, of which the first lapsed, on one topic and on the other."""
        for store in (self.store, self.keys):
            store.create("alice", ttl=HOUR)
            store.create("bob", ttl=90 * DAY)
        self.clock.advance(days * DAY)


@pytest.fixture(params=COMPACTABLE)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(request.param, tmp_path / "ledger")
    yield place
    place.log.close()


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Place]:
    place = Place("sqlite", tmp_path / "ledger")
    yield place
    place.log.close()


def test_a_round_sweeps_and_compacts_every_topic_of_sessions(place: Place) -> None:
    place.lives()
    done = place.store.maintain(retention=RETENTION)
    assert done is not None
    assert done.swept == {TOPIC: 1, KEYS: 1}
    assert {topic: one.events for topic, one in done.compacted.items()} == {TOPIC: 2, KEYS: 2}
    assert place.keys.count() == place.store.count() == 1
    assert place.store.verify().ok
    assert place.keys.verify().ok


def test_without_a_retention_a_round_only_sweeps(place: Place) -> None:
    place.lives()
    done = place.store.maintain()
    assert done is not None
    assert (done.swept, done.compacted) == ({TOPIC: 1, KEYS: 1}, {})
    assert place.store.stats().cut == 0


def test_events_that_are_not_of_sessions_stay(place: Place) -> None:
    place.lives()
    event = LogEvent.of("ordered", {"token_handle": "sha256:v1:" + "0" * 64}, occurred_at_ms=1)
    place.log.append("orders", [Unit([Change(event)])])
    place.store.maintain(retention=RETENTION)
    assert [one.id for one in place.log.read("orders")] == [1]


def test_a_topic_whose_oldest_events_were_removed_is_maintained_on(place: Place) -> None:
    place.lives()
    for _ in range(2):
        place.store.maintain(retention=RETENTION)
        place.clock.advance(5 * DAY)
    done = place.store.maintain(retention=RETENTION)
    assert done is not None
    assert done.compacted.keys() == {KEYS, TOPIC}


def test_a_round_with_nothing_to_do_writes_no_event(place: Place) -> None:
    place.lives()
    place.store.maintain(retention=RETENTION)
    heads = place.store.head(), place.keys.head()
    place.clock.advance(HOUR)
    assert place.store.maintain(retention=RETENTION) is not None
    assert (place.store.head(), place.keys.head()) == heads


@pytest.mark.middle
@pytest.mark.parametrize("many", [1, 600])
def test_a_round_with_nothing_to_do_does_not_walk_the_base(on_disk: Place, many: int) -> None:
    for _ in range(many):
        on_disk.store.create("alice", ttl=90 * DAY)
    on_disk.clock.advance(5 * DAY)
    on_disk.store.maintain(retention=RETENTION)
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    drive(Maintenance(on_disk.store._engine, on_disk.log, RETENTION, None, count).maintain())
    assert steps == 4


def test_the_last_round_is_seen_by_whoever_opens_the_ledger(on_disk: Place) -> None:
    on_disk.lives()
    assert on_disk.store.stats().maintained is None
    on_disk.store.maintain(retention=RETENTION)
    with SessionStore.open(on_disk.url) as other:
        stats = other.stats()
    assert stats.maintained is not None
    assert (stats.maintained.at, stats.maintained.outcome) == (on_disk.clock.now, "succeeded")
    assert stats.compacted_at == on_disk.clock.now
    assert (stats.cut, stats.events, stats.tombstones) == (2, 2, 0)
    assert stats.oldest_at == on_disk.clock.now


def test_an_error_in_one_topic_does_not_keep_the_others_from_it(on_disk: Place) -> None:
    on_disk.lives()
    break_first_event_of(on_disk, KEYS)
    with pytest.raises(CorruptLog) as caught:
        on_disk.store.maintain(retention=RETENTION)
    assert caught.value.__notes__ == [f"in the topic {KEYS}"]
    assert on_disk.store.stats().cut == 2
    maintained = on_disk.store.stats().maintained
    assert maintained is not None
    assert maintained.outcome == "corrupt_log"


def test_of_several_errors_one_is_raised_and_the_others_are_told(on_disk: Place) -> None:
    on_disk.lives()
    break_first_event_of(on_disk, KEYS)
    break_first_event_of(on_disk, TOPIC)
    with pytest.raises(CorruptLog) as caught:
        on_disk.store.maintain(retention=RETENTION)
    assert caught.value.__notes__ == [f"in the topic {TOPIC}"]
    assert [error.__notes__ for error in on_disk.told] == [[f"in the topic {KEYS}"]]


def break_first_event_of(place: Place, topic: str) -> None:
    sql = "UPDATE events SET occurred_at_ms = occurred_at_ms + 1 WHERE event_id = 1 AND topic = ?"
    bare_sqlite.execute(place.path, sql, topic)


@pytest.mark.parametrize("retention", [HOUR, 90, -DAY])
def test_a_retention_that_can_t_be_is_refused_before_anything(place: Place, retention: Any) -> None:
    for call in (place.store.maintain, place.store.run_maintenance):
        with pytest.raises(InvalidSession) as caught:
            call(retention=retention)
        assert caught.value.field == "retention"
    assert place.store.stats().maintained is None


def test_what_a_round_removes_is_archived_for_every_topic(on_disk: Place, tmp_path: Path) -> None:
    on_disk.lives()
    on_disk.store.maintain(retention=RETENTION, archive=tmp_path / "archive")
    for store in (on_disk.store, on_disk.keys):
        ids = [event.id for event in store.events(archive=tmp_path / "archive")]
        assert ids == [1, 2, 3, 4]
    # A round without the archive would leave a gap in it.
    on_disk.clock.advance(5 * DAY)
    with pytest.raises(InvalidSession) as caught:
        on_disk.store.maintain(retention=RETENTION)
    assert caught.value.field == "archive"


def test_an_archive_needs_a_retention(on_disk: Place, tmp_path: Path) -> None:
    with pytest.raises(InvalidSession) as caught:
        on_disk.store.maintain(archive=tmp_path / "archive")
    assert caught.value.field == "archive"


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(request.param, tmp_path / "ledger")
    yield place
    place.log.close()


def test_while_another_one_has_the_lease_a_round_is_left_out(shared: Place) -> None:
    shared.lives()
    other = open_log(shared.url)
    log = other.compactable()
    assert log is not None
    head = shared.store.head()
    with log.lease():
        assert shared.store.maintain(retention=RETENTION) is None
        assert shared.store.maintain() is None
    assert shared.store.head() == head
    other.close()
    assert shared.store.stats().maintained is None
    assert shared.store.maintain(retention=RETENTION) is not None


def test_a_lease_is_for_one_thread_of_a_process(shared: Place) -> None:
    shared.lives()
    log = shared.log.compactable()
    assert log is not None
    answers: list[Any] = []
    with log.lease():
        thread = in_thread(lambda: answers.append(shared.store.maintain(retention=RETENTION)))
        thread.join(PATIENCE)
        assert answers == [None]
        assert shared.store.compact(retention=RETENTION).sealed


def codes(place: Place) -> dict[str, str]:
    """What a diagnosis says of maintenance: subjects by codes."""
    clock = place.clock
    check = session_check(TOPIC, int(clock.now.timestamp() * 1000), None)
    return {found.code: found.subject for found in place.log.examine(TOPIC, check)}


def test_a_diagnosis_tells_of_the_last_round(on_disk: Place) -> None:
    on_disk.lives()
    assert codes(on_disk) == {}
    on_disk.store.maintain(retention=RETENTION)
    assert codes(on_disk) == {"maintenance_ran": f"{on_disk.clock.now:%Y-%m-%d %H:%M:%S}Z"}
    event = on_disk.keys.head().id
    on_disk.clock.advance(5 * DAY)
    on_disk.keys.create("carol", ttl=DAY)
    sql = "UPDATE events SET occurred_at_ms = occurred_at_ms + 1 WHERE event_id = ? AND topic = ?"
    bare_sqlite.execute(on_disk.path, sql, event, KEYS)
    with pytest.raises(CorruptLog):
        on_disk.store.maintain(retention=RETENTION)
    assert codes(on_disk)["maintenance_failed"] == "corrupt_log"
    assert "maintenance_ran" not in codes(on_disk)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_diagnosis_names_the_consumer_that_holds_it_back(place: Place, is_sealed: bool) -> None:
    place.store.create("bob", ttl=90 * DAY)
    place.clock.advance(3 * DAY)
    if is_sealed:
        place.store.maintain(retention=RETENTION)
    place.log.ack(TOPIC, "quick", 10)
    place.log.ack(TOPIC, "slow", int(is_sealed))
    place.store.create("carol", ttl=90 * DAY)
    place.clock.advance(HOUR)
    place.store.maintain(retention=RETENTION)
    assert ("consumer_behind" in codes(place)) == (not is_sealed)
    place.clock.advance(3 * DAY)
    done = place.store.maintain(retention=RETENTION)
    assert done is not None
    assert done.compacted[TOPIC].held_back_by == "slow"
    assert codes(place)["consumer_behind"] == "slow"
    assert place.store.stats().consumers == {"quick": 0, "slow": 2}


def test_a_diagnosis_names_a_mark_that_nobody_swept(place: Place) -> None:
    place.store.create("bob", ttl=90 * DAY)
    place.store.maintain()
    place.store.revoke_everybody()
    place.clock.advance(DAY)
    assert "mark_unswept" not in codes(place)
    place.clock.advance(HOUR)
    assert codes(place)["mark_unswept"] == "event 2"
    place.store.maintain()
    assert "mark_unswept" not in codes(place)


@pytest.mark.middle
@pytest.mark.parametrize("backend", ["sqlite", "file"])
def test_a_round_that_is_stopped_at_any_step_is_finished_by_the_next(
    tmp_path: Path, backend: str
) -> None:
    for step in range(1000):
        place = Place(backend, tmp_path / f"ledger{step}")
        place.lives()
        asked = iter(range(step))
        stopping = Maintenance(
            place.store._engine,
            place.log,
            RETENTION,
            tmp_path / f"archive{step}",
            lambda asked=asked: next(asked, None) is None,  # type: ignore[misc]
        )
        is_stopped = False
        try:
            drive(stopping.maintain())
        except StoreClosed:
            is_stopped = True
        assert (place.store.stats().maintained is None) == is_stopped
        assert place.store.verify().ok
        assert place.store.count() == place.keys.count() == 1
        archive = tmp_path / f"archive{step}"
        assert place.store.maintain(retention=RETENTION, archive=archive) is not None
        for topic in (TOPIC, KEYS):
            assert stored(place, topic) == [3, 4]
        assert [event.id for event in place.store.events(archive=archive)] == [1, 2, 3, 4]
        place.log.close()
        if not is_stopped:
            break
    assert step > 8


def stored(place: Place, topic: str) -> list[int]:
    """The ids of the events that are in the file."""
    if place.path.is_dir():
        lines = (place.path / "topics" / f"{topic}.jsonl").read_text().splitlines()
        return [json.loads(line)["id"] for line in lines]
    query = "SELECT event_id FROM events WHERE topic = ? ORDER BY event_id"
    connection = apsw.Connection(str(place.path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [id for (id,) in connection.execute(query, (topic,))]
    finally:
        connection.close()


# -- run_maintenance


def rounds(place: Place) -> int:
    """When the last round began, in milliseconds; 0 before the first."""
    return max(place.log.compactable().cursors(LAST_RUNS).values(), default=0)  # type: ignore[union-attr]


@pytest.mark.parametrize("ends_by", ["stop", "close"])
def test_maintenance_goes_on_until_it_is_told_to_end(place: Place, ends_by: str) -> None:
    place.lives()
    stop = threading.Event()
    thread = in_thread(
        lambda: place.store.run_maintenance(HOUR / 10**6, retention=RETENTION, stop=stop)
    )
    until(lambda: rounds(place) > 0)
    first = rounds(place)
    place.clock.advance(HOUR)
    until(lambda: rounds(place) > first)
    assert place.store.stats().cut == 2
    if ends_by == "stop":
        stop.set()
    else:
        place.store.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert place.told == []


def test_maintenance_reports_and_goes_on(on_disk: Place) -> None:
    on_disk.lives()
    break_first_event_of(on_disk, TOPIC)
    stop = threading.Event()
    thread = in_thread(lambda: on_disk.store.run_maintenance(HOUR, retention=RETENTION, stop=stop))
    until(lambda: len(on_disk.told) > 0)
    stop.set()
    thread.join(PATIENCE)
    assert {error.code for error in on_disk.told} == {"corrupt_log"}


def test_a_round_of_another_store_within_the_interval_counts(place: Place) -> None:
    place.lives()
    place.store.maintain(retention=RETENTION)
    first = rounds(place)
    place.clock.advance(HOUR / 2)
    maintenance = Maintenance(place.store._engine, place.log, RETENTION)
    for _ in range(2):
        left = drive(maintenance.turn(HOUR))
        assert left is not None
        assert rounds(place) == first
    place.clock.advance(HOUR / 2)
    drive(maintenance.turn(HOUR))
    assert rounds(place) > first


def test_a_round_of_a_clock_that_was_ahead_does_not_count(place: Place) -> None:
    place.lives()
    place.log.ack(LAST_RUNS, "succeeded", int((place.clock.now + HOUR).timestamp() * 1000))
    drive(Maintenance(place.store._engine, place.log, RETENTION).turn(HOUR))
    assert place.store.stats().cut == 2


# -- in an event loop


@pytest.mark.parametrize("ends_by", ["stop", "close", "cancel"])
def test_a_maintaining_task_ends(place: Place, ends_by: str) -> None:
    place.lives()

    async def main() -> None:
        stop = asyncio.Event()
        store = AsyncSessionStore(place.log, **place.settings)
        running = store.run_maintenance(HOUR, retention=RETENTION, stop=stop)
        task = asyncio.create_task(running)
        await asyncio.to_thread(until, lambda: rounds(place) > 0)
        if ends_by == "stop":
            stop.set()
        elif ends_by == "close":
            await store.close()
        else:
            task.cancel()
        async with asyncio.timeout(PATIENCE):
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError) == (ends_by == "cancel")
        assert outcome is None or ends_by == "cancel"
        await store.close()

    asyncio.run(main())
    assert place.told == []
    assert place.store.stats().cut == 2
