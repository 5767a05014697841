"""authenticate: the call for every request, whatever a client sends and whatever the disk does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from sessionledger import (
    AsyncSessionStore,
    InvalidSession,
    LogUnavailable,
    Policy,
    ReauthenticationRequired,
    Session,
    SessionLedgerError,
    SessionStore,
)
from sessionledger.logs.base import Outcome, Unit
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.clock import NOON, Clock
from sessionledger.testing.fixtures import concurrently
from tests.logs.test_full_disk import fill, small_disk
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench, Kind
from tests.store.test_store import some

__all__ = ["small_disk"]

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
INTERVAL = 10 * MINUTE
HOUR = timedelta(hours=1)

GARBAGE = [
    None,
    "",
    " ",
    "short",
    "x" * 513,
    "x" * 100_000,
    "sha256:v1:" + "0" * 64,
    "\ud800" * 40,
    "\0" * 40,
    OTHER,
    "'; DROP TABLE ledger_rows; --" * 2,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_client_s_garbage_is_nobody(store: SessionStore, garbage: str | None) -> None:
    store.create("alice", token=TOKEN)
    assert store.authenticate(garbage) is None
    assert store.authenticate(garbage, max_auth_age=MINUTE) is None
    assert store.head().id == 1


@pytest.mark.parametrize("wrong", [b"x" * 40, 7, [TOKEN]])
def test_what_no_client_can_send_is_the_caller_s_error(store: SessionStore, wrong: Any) -> None:
    with pytest.raises(InvalidSession) as caught:
        store.authenticate(wrong)
    assert caught.value.field == "token"


def test_it_answers_as_get_does(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR, attributes={"a": 1})
    assert store.authenticate(f" {TOKEN}\n") == store.get(TOKEN) is not None
    clock.advance(HOUR)
    assert store.authenticate(TOKEN) is store.get(TOKEN) is None
    store.create("bob", token=OTHER)
    store.expire(OTHER)
    assert store.authenticate(OTHER) is None
    assert store.head().id == 3


def test_it_writes_once_in_an_interval(store: SessionStore, clock: Clock) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR)
    clock.advance(INTERVAL - SECOND)
    assert some(store.authenticate(TOKEN)).last_seen_at == NOON
    assert store.head().id == 1
    clock.advance(SECOND)
    seen = some(store.authenticate(TOKEN, context={"address": "::1"}))
    assert (seen.last_seen_at, seen.version) == (NOON + INTERVAL, 2)
    assert seen == store.get(TOKEN)
    assert seen.context == {"address": "::1"}
    clock.advance(INTERVAL - SECOND)
    assert some(store.authenticate(TOKEN)).version == 2
    clock.advance(timedelta(days=-1))
    assert some(store.authenticate(TOKEN)).version == 2
    assert store.head().id == 2


def test_it_slides_ten_times_in_an_idle_timeout(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(ttl=HOUR, idle_timeout=2 * MINUTE))
    store.create("alice", token=TOKEN)
    clock.advance(11 * SECOND)
    assert some(store.authenticate(TOKEN)).expires_at == NOON + 2 * MINUTE
    clock.advance(SECOND)
    assert some(store.authenticate(TOKEN)).expires_at == NOON + 132 * SECOND
    # Whoever comes once in the idle timeout is let in until the deadline.
    while clock.advance(119 * SECOND) < NOON + HOUR:
        assert some(store.authenticate(TOKEN)).expires_at == min(
            clock.now + 2 * MINUTE, NOON + HOUR
        )
    assert store.authenticate(TOKEN) is None


def test_a_hundred_threads_cause_one_write(bench: Bench, clock: Clock) -> None:
    log = bench.log()
    store = SessionStore(log, clock=clock)
    store.create("alice", token=TOKEN)
    clock.advance(INTERVAL)
    answers = concurrently(*[lambda: store.authenticate(TOKEN) for _ in range(100)])
    assert {some(answer).last_seen_at for answer in answers} == {clock.now}
    assert store.head().id == 2


def test_a_hundred_tasks_cause_one_write(bench: Bench, clock: Clock) -> None:
    async def main() -> list[Session | None]:
        async with AsyncSessionStore(bench.log(), clock=clock) as store:
            await store.create("alice", token=TOKEN)
            clock.advance(INTERVAL)
            answers = await asyncio.gather(*(store.authenticate(TOKEN) for _ in range(100)))
            assert (await store.head()).id == 2
            return answers

    assert {some(answer).last_seen_at for answer in asyncio.run(main())} == {clock.now}


class Refusing(MemoryLog):
    """A log that refuses to write while it is told to."""

    refuses = False

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        if self.refuses:
            raise LogUnavailable("the disk is gone")
        return super().append(topic, batch, until)


class Told(list[SessionLedgerError]):
    """What was reported, and to whom."""

    def __call__(self, error: SessionLedgerError) -> None:
        self.append(error)


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture(params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


def test_a_log_that_refuses_turns_nobody_away(colour: str, tmp_path: Path) -> None:
    bench, log, told = Bench(Kind(colour, "memory"), tmp_path), Refusing(), Told()
    store = bench.on(log, on_error=told)
    store.create("alice", token=TOKEN, ttl=HOUR)
    rotated = store.create("bob", token=OTHER, ttl=HOUR)
    successor = some_token(store, OTHER)
    log.refuses = True
    bench.clock.advance(INTERVAL)
    assert some(store.authenticate(TOKEN)).last_seen_at == NOON
    assert [error.code for error in told] == ["log_unavailable"]
    # What is over stays over, and what was reused is not let in either.
    assert store.authenticate(OTHER) is None
    assert len(told) == 2
    with pytest.raises(LogUnavailable):
        store.touch(TOKEN)
    log.refuses = False
    assert some(store.authenticate(TOKEN)).last_seen_at == NOON + INTERVAL
    assert store.authenticate(OTHER) is store.get(successor) is None
    assert len(told) == 2
    assert list(store.history(handle=rotated.handle))[-1].cause == "reused"
    bench.close()


def some_token(store: SessionStore, token: str) -> str:
    issued = store.rotate(token)
    assert issued is not None
    return issued.token


def test_a_context_that_can_t_be_written_turns_nobody_away(
    colour: str, backend: str, tmp_path: Path
) -> None:
    bench, told = Bench(Kind(colour, backend), tmp_path / "ledger"), Told()
    store = bench.on(bench.log(), on_error=told)
    secret = "a secret of the caller's own making, and long enough"
    store.create("alice", token=secret)
    for context in ({"agent": "x" * 5000}, {"path": f"/?sid={secret}"}, {"agent": "\udfff"}):
        bench.clock.advance(INTERVAL)
        assert some(store.authenticate(secret, context=context)).last_seen_at == bench.clock.now
    assert [error.code for error in told] == ["invalid_session"] * 3
    for event in store.events():
        assert secret not in f"{event.payload!r}{event.headers}"
    assert secret not in f"{told}"
    bench.close()


def test_without_a_callback_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log, clock = Refusing(), Clock()
    store = SessionStore(log, clock=clock)
    store.create("alice", token=TOKEN)
    log.refuses = True
    clock.advance(INTERVAL)
    assert store.authenticate(TOKEN) is not None
    assert "log_unavailable: the disk is gone" in caplog.text
    assert TOKEN not in caplog.text


def test_a_full_disk_turns_nobody_away(colour: str, small_disk: Path) -> None:
    bench, told = Bench(Kind(colour, "sqlite"), small_disk / "ledger"), Told()
    store = bench.on(bench.log(), on_error=told, policy=Policy(touch_interval=MINUTE))
    store.create("alice", token=TOKEN, ttl=HOUR)
    filler = fill(small_disk)
    while not told:
        # Room that the file has within itself is used up first.
        bench.clock.advance(MINUTE)
        assert store.authenticate(TOKEN) is not None
    assert told[0].code == "log_unavailable"
    filler.unlink()
    bench.clock.advance(MINUTE)
    assert some(store.authenticate(TOKEN)).last_seen_at == bench.clock.now
    assert store.verify().ok
    bench.close()


def test_a_recent_proof_may_be_asked_for(store: SessionStore, clock: Clock) -> None:
    issued = store.create("alice", token=TOKEN, ttl=24 * HOUR)
    assert issued.authenticated_at == NOON
    clock.advance(10 * MINUTE)
    assert store.authenticate(TOKEN, max_auth_age=10 * MINUTE) is not None
    clock.advance(SECOND)
    with pytest.raises(ReauthenticationRequired) as caught:
        store.authenticate(TOKEN, max_auth_age=10 * MINUTE)
    assert TOKEN not in f"{caught.value}{caught.value!r}"
    assert store.authenticate(TOKEN, max_auth_age=HOUR) is not None
    # Being seen proves nothing.
    store.touch(TOKEN)
    with pytest.raises(ReauthenticationRequired):
        store.authenticate(TOKEN, max_auth_age=10 * MINUTE)
    proved = some(store.reauthenticate(TOKEN, reason="password"))
    assert proved.authenticated_at == proved.reauthenticated_at == clock.now
    assert store.authenticate(TOKEN, max_auth_age=SECOND) is not None
    entry = list(store.history(handle=issued.handle))[-1]
    assert (entry.reason, entry.changes["reauthenticated_at"]) == ("password", clock.now)
    clock.advance(HOUR)
    assert some(store.reauthenticate(handle=issued.handle)).authenticated_at == clock.now
    for token, handle in ((None, None), (TOKEN, issued.handle)):
        with pytest.raises(InvalidSession, match="takes one of them"):
            store.reauthenticate(token, handle=handle)


@pytest.mark.parametrize("age", [0, timedelta(0), -MINUTE, "1h"])
def test_an_age_that_can_t_be_is_refused(store: SessionStore, age: Any) -> None:
    store.create("alice", token=TOKEN)
    with pytest.raises(InvalidSession) as caught:
        store.authenticate(TOKEN, max_auth_age=age)
    assert caught.value.field == "max_auth_age"


def test_what_is_over_is_nobody_and_not_asked_to_prove_anything(
    store: SessionStore, clock: Clock
) -> None:
    store.create("alice", token=TOKEN, ttl=HOUR)
    clock.advance(2 * HOUR)
    assert store.authenticate(TOKEN, max_auth_age=MINUTE) is None
    assert store.reauthenticate(TOKEN) is store.reauthenticate(OTHER) is None
    assert store.head().id == 1


def test_a_proof_slides_as_a_touch_does(bench: Bench, clock: Clock) -> None:
    store = bench.open(policy=Policy(ttl=HOUR, idle_timeout=10 * MINUTE))
    store.create("alice", token=TOKEN)
    clock.advance(5 * MINUTE)
    assert some(store.reauthenticate(TOKEN)).expires_at == NOON + 15 * MINUTE


def test_a_proof_outlives_reopening_and_rebuilding(tmp_path: Path) -> None:
    bench = Bench(Kind("sync", "sqlite"), tmp_path / "ledger")
    store = bench.open()
    store.create("alice", token=TOKEN)
    bench.clock.advance(HOUR)
    store.reauthenticate(TOKEN)
    again = bench.open()
    again.rebuild()
    assert some(again.authenticate(TOKEN, max_auth_age=SECOND)).authenticated_at == NOON + HOUR
    bench.close()
