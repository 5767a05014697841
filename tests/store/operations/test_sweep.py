"""sweep: the end of what lapsed, recorded once, and never by a clock that can't be right."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionledger import (
    AsyncSessionStore,
    ClockJumped,
    InvalidSession,
    Policy,
    SessionLedgerError,
    SessionStore,
    StoreClosed,
)
from sessionledger.core.token import digest, handle_of
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.clock import NOON, Clock
from sessionledger.testing.fixtures import PATIENCE, concurrently, until
from tests.logs.children import finish, start
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench, Kind
from tests.store.operations.test_authenticate import Refusing, Told
from tests.store.test_store import some

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MARGIN = 5 * MINUTE


def created(store: SessionStore, many: int, **told: Any) -> list[str]:
    return [store.create("alice", **told).token for _ in range(many)]


def test_what_lapsed_is_ended_at_the_end_it_had(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR)
    store.create("alice", token=OTHER, ttl=3 * HOUR)
    clock.advance(2 * HOUR)
    assert store.sweep() == 1
    entry = list(store.history(handle=handle_of(digest(TOKEN))))[-1]
    assert (entry.kind, entry.cause) == ("session_expired", "lapsed")
    assert (entry.occurred_at, entry.changes["ended_at"]) == (clock.now, NOON + HOUR)
    assert store.get(OTHER) is not None
    assert store.sweep() == 0
    # What was swept is over for good, also for who says that it was seen in time.
    assert store.touch(TOKEN, last_seen_at=NOON, expires_at=NOON + 9 * HOUR) is None
    assert store.head().id == 3


def test_only_what_lapsed_over_five_minutes_ago(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR)
    clock.now = NOON + HOUR + MARGIN
    assert store.sweep() == 0
    clock.advance(timedelta.resolution)
    assert store.sweep() == 1


def test_the_margin_is_the_policy_s(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(sweep_margin=HOUR))
    store.create("alice", ttl=MINUTE)
    clock.advance(HOUR)
    assert store.sweep() == 0
    clock.advance(2 * MINUTE)
    assert store.sweep() == 1


def test_it_goes_by_batches(store: SessionStore, clock: Clock) -> None:
    created(store, 25, ttl=HOUR)
    clock.advance(2 * HOUR)
    assert [store.sweep(limit=10) for _ in range(4)] == [10, 10, 5, 0]
    assert store.verify().events == 50


def test_a_sweep_may_take_more_than_a_batch(tmp_path: Path) -> None:
    bench = Bench(Kind("sync", "sqlite"), tmp_path / "ledger", durability="normal")
    store = SessionStore(bench.log(), clock=bench.clock)
    created(store, 1100, ttl=HOUR)
    bench.clock.advance(2 * HOUR)
    assert store.sweep(limit=1050) == 1050
    assert store.sweep(limit=1050) == 50
    assert store.count(state="all") == 1100
    bench.close()


def test_a_margin_may_reach_beyond_the_calendar(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(sweep_margin=timedelta.max))
    created(store, 1, ttl=HOUR)
    clock.advance(timedelta(days=9999))
    assert store.sweep() == 0


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, None])
def test_a_limit_that_can_t_be_is_refused(store: SessionStore, limit: Any) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.sweep(limit=limit)
    assert caught.value.field == "limit"


def test_ended_sessions_are_not_ended_again(store: SessionStore, clock: Clock) -> None:
    for token in created(store, 3, ttl=HOUR):
        store.expire(token)
    clock.advance(2 * HOUR)
    assert store.sweep() == 0


def test_an_earlier_instant_sweeps_as_of_then(store: SessionStore, clock: Clock) -> None:
    created(store, 1, ttl=HOUR)
    created(store, 1, ttl=2 * HOUR)
    clock.now = NOON + 3 * HOUR
    assert store.sweep(now=NOON + HOUR + 2 * MARGIN) == 1
    assert store.sweep(now=NOON + HOUR + 2 * MARGIN) == 0
    assert store.sweep() == 1


def test_an_instant_in_the_future_ends_nobody_s_session(store: SessionStore, clock: Clock) -> None:
    created(store, 3, ttl=HOUR)
    clock.advance(MINUTE)
    with pytest.raises(ClockJumped, match="future"):
        store.sweep(now=NOON + 10 * HOUR)
    assert store.sweep(now=clock.now + MINUTE) == 0
    assert store.head().id == 3


def test_a_clock_behind_the_log_ends_nobody_s_session(bench: Bench, clock: Clock) -> None:
    """Another writer's clock is ahead: who is right can't be told here."""
    log = bench.log()
    store = bench.on(log)
    created(store, 1, ttl=SECOND)
    clock.now = NOON + HOUR
    ahead = Clock(NOON + HOUR + MINUTE + SECOND)
    bench.on(log, clock=ahead).create("bob")
    with pytest.raises(ClockJumped, match="newest event"):
        store.sweep()
    clock.advance(SECOND)
    assert store.sweep() == 1


def test_a_clock_ahead_of_another_writer_s_ends_nobody_s_session(
    bench: Bench, clock: Clock
) -> None:
    """It has looked at the log before: what came since can't be older than that."""
    log = bench.log()
    ahead = bench.on(log, clock=Clock(NOON + 3 * HOUR))
    assert ahead.sweep() == 0
    issued = bench.on(log).create("bob", ttl=HOUR)
    for _ in range(2):
        with pytest.raises(ClockJumped, match="newest event"):
            ahead.sweep()
    assert bench.on(log).get(issued.token) is not None


@pytest.mark.parametrize("jump", [timedelta(days=365), timedelta(seconds=61), -61 * SECOND])
def test_a_clock_that_was_set_ends_nobody_s_session(bench: Bench, jump: timedelta) -> None:
    elapsed = [100.0]
    store = bench.on(bench.log(), monotonic=lambda: elapsed[0])
    bench.clock.now = NOON - HOUR
    created(store, 2, created_at=NOON - 10 * HOUR, ttl=HOUR)
    bench.clock.now = NOON + HOUR
    elapsed[0] += HOUR.total_seconds()
    bench.clock.advance(jump)
    with pytest.raises(ClockJumped, match="set by"):
        store.sweep()
    # Once it is right again, so is the sweep.
    bench.clock.advance(-jump)
    assert store.sweep() == 2


def test_a_clock_that_drifts_by_less_is_believed(bench: Bench) -> None:
    elapsed = [0.0]
    store = bench.on(bench.log(), monotonic=lambda: elapsed[0])
    created(store, 1, ttl=MINUTE)
    bench.clock.advance(HOUR)
    elapsed[0] = HOUR.total_seconds() - 59
    assert store.sweep() == 1


def test_of_many_threads_that_sweep_each_session_is_ended_once(bench: Bench, clock: Clock) -> None:
    store = SessionStore(bench.log(), clock=clock)
    created(store, 50, ttl=HOUR)
    clock.advance(2 * HOUR)
    assert sum(concurrently(*[store.sweep for _ in range(8)])) == 50
    assert store.head().id == 100


SWEEPING = """
import json, sys
from datetime import datetime
from sessionledger import SessionStore

now = datetime.fromisoformat(sys.argv[2])
with SessionStore.open(sys.argv[1], clock=lambda: now) as store:
    swept = 0
    while some := store.sweep(limit=7):
        swept += some
    print(json.dumps(swept))
"""


def test_of_many_processes_that_sweep_each_session_is_ended_once(tmp_path: Path) -> None:
    bench = Bench(Kind("sync", "sqlite"), tmp_path / "ledger", durability="normal")
    store = bench.open()
    created(store, 100, ttl=HOUR)
    now = NOON + 2 * HOUR
    children = [start(SWEEPING, bench.url, now.isoformat()) for _ in range(3)]
    assert sum(json.loads(finish(child)) for child in children) == 100
    assert store.head().id == 200
    bench.close()


# -- run_sweeper


@pytest.fixture(params=["memory", "sqlite"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    bench = Bench(Kind("sync", request.param), tmp_path / "ledger")
    yield bench
    bench.close()


def in_thread(job: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=job, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("owned", [False, True])
def test_a_sweeper_sweeps_and_ends_when_the_store_is_closed(either: Bench, owned: bool) -> None:
    store = either.open() if owned else either.on(either.log())
    store.create("alice", ttl=HOUR)
    sweeper = in_thread(lambda: store.run_sweeper(timedelta(milliseconds=1)))
    either.clock.advance(2 * HOUR)
    until(lambda: store.head().id == 2)
    store.close()
    sweeper.join(PATIENCE)
    assert not sweeper.is_alive()


def test_a_sweeper_that_rests_for_long_ends_when_it_is_told_to(either: Bench) -> None:
    store, stop = either.open(), threading.Event()
    store.create("alice", ttl=HOUR)
    either.clock.advance(2 * HOUR)
    sweepers = [in_thread(lambda: store.run_sweeper(HOUR, stop=stop)) for _ in range(3)]
    until(lambda: store.head().id == 2)
    stop.set()
    for sweeper in sweepers:
        sweeper.join(PATIENCE)
        assert not sweeper.is_alive()
    assert store.head().id == 2


def test_a_sweeper_that_rests_for_long_ends_when_the_store_is_closed(either: Bench) -> None:
    store = either.on(either.log())
    sweeper = in_thread(lambda: store.run_sweeper(timedelta(days=999_999)))
    store.close()
    sweeper.join(PATIENCE)
    assert not sweeper.is_alive()


def test_a_sweeper_empties_more_than_a_batch_at_once(either: Bench) -> None:
    store, stop = either.open(), threading.Event()
    bench = either
    for _ in range(3):
        created(store, 10, ttl=HOUR)
    bench.clock.advance(2 * HOUR)
    sweeper = in_thread(lambda: store.run_sweeper(HOUR, stop=stop))
    until(lambda: store.head().id == 60)
    stop.set()
    sweeper.join(PATIENCE)


def test_a_sweeper_reports_and_goes_on() -> None:
    log, told, clock, stop = Refusing(), Told(), Clock(), threading.Event()
    store = SessionStore(log, clock=clock, on_error=told)
    store.create("alice", ttl=HOUR)
    clock.advance(2 * HOUR)
    log.refuses = True
    sweeper = in_thread(lambda: store.run_sweeper(timedelta(milliseconds=1), stop=stop))
    until(lambda: len(told) > 2)
    assert {error.code for error in told} == {"log_unavailable"}
    log.refuses = False
    until(lambda: store.head().id == 2)
    clock.advance(-HOUR)
    until(lambda: any(error.code == "clock_jumped" for error in told))
    stop.set()
    sweeper.join(PATIENCE)
    assert not sweeper.is_alive()


@pytest.mark.parametrize("interval", [timedelta(0), 60, -HOUR])
def test_an_interval_that_can_t_be_is_refused_before_anything(
    store: SessionStore, clock: Clock, interval: Any
) -> None:
    created(store, 1, ttl=MINUTE)
    clock.advance(HOUR)
    with pytest.raises(InvalidSession) as caught:
        store.run_sweeper(interval)
    assert caught.value.field == "interval"
    assert store.head().id == 1


def test_no_sweeper_runs_on_a_closed_store(store: SessionStore) -> None:
    store.close()
    with pytest.raises(StoreClosed):
        store.run_sweeper()


@pytest.mark.parametrize("ends_by", ["stop", "close", "cancel"])
@pytest.mark.parametrize("interval", [timedelta(milliseconds=1), HOUR])
def test_a_sweeping_task_ends(either: Bench, ends_by: str, interval: timedelta) -> None:
    clock = either.clock

    async def main() -> None:
        log, stop = either.log(), asyncio.Event()
        store = AsyncSessionStore(log, clock=clock)
        await store.create("alice", ttl=HOUR)
        clock.advance(2 * HOUR)
        sweeper = asyncio.create_task(store.run_sweeper(interval, stop=stop))
        await asyncio.to_thread(until, lambda: log.latest(SESSIONS_TOPIC) == 2)
        if ends_by == "stop":
            stop.set()
        elif ends_by == "close":
            await store.close()
        else:
            sweeper.cancel()
        async with asyncio.timeout(PATIENCE):
            (outcome,) = await asyncio.gather(sweeper, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError) == (ends_by == "cancel")
        assert outcome is None or ends_by == "cancel"
        await store.close()

    asyncio.run(main())


def test_a_sweeping_task_reports_and_goes_on() -> None:
    log, told, clock = Refusing(), Told(), Clock()

    async def main() -> None:
        async with AsyncSessionStore(log, clock=clock, on_error=told) as store:
            await store.create("alice", ttl=HOUR)
            clock.advance(2 * HOUR)
            log.refuses = True
            sweeper = asyncio.create_task(store.run_sweeper(timedelta(milliseconds=1)))
            await asyncio.to_thread(until, lambda: bool(told))
            log.refuses = False
            await asyncio.to_thread(until, lambda: log.latest(SESSIONS_TOPIC) == 2)
        await sweeper

    asyncio.run(main())
    assert all(isinstance(error, SessionLedgerError) for error in told)


def test_the_system_s_clock_is_believed(tmp_path: Path) -> None:
    with SessionStore.open(f"sqlite:///{tmp_path}/ledger") as store:
        long_ago = datetime.now(NOON.tzinfo) - HOUR
        store.create("alice", token=TOKEN, created_at=long_ago, ttl=MINUTE)
        assert store.sweep() == 1
        ended = some(next(iter(store.sessions(state="all"))))
        assert ended.ended_at == long_ago + MINUTE
