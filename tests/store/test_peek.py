"""peek: what authenticate would answer, where it would do nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import InvalidSession, Policy, SessionStore
from sessionledger.testing.clock import Clock
from tests.store.conftest import TOKEN
from tests.store.facade import KINDS, Bench, Kind
from tests.store.operations.test_authenticate import GARBAGE
from tests.store.test_store import some

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
POLICIES = (
    Policy(),
    Policy(touch_interval=timedelta(0)),
    Policy(idle_timeout=40 * SECOND),
    Policy(idle_timeout=HOUR, touch_interval=timedelta.max),
    Policy(touch_interval=timedelta.max),
)


@pytest.fixture(params=[kind for kind in KINDS if kind.answers_in_place], ids=str)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(request.param, tmp_path / "ledger.db")
    yield bench
    bench.close()


def test_it_answers_nothing_where_a_loop_would_have_to_wait(tmp_path: Path) -> None:
    bench = Bench(Kind("async", "postgresql"), tmp_path / "ledger.db")
    store = bench.open()
    store.create("alice", token=TOKEN)
    assert store.authenticate(TOKEN) is not None
    assert store.peek(TOKEN) is None
    bench.close()


@pytest.mark.parametrize("policy", POLICIES, ids=range(len(POLICIES)))
def test_it_answers_until_there_is_something_to_write_or_it_ends(
    bench: Bench, clock: Clock, policy: Policy
) -> None:
    store = bench.open(policy=policy)
    store.create("alice", token=TOKEN, ttl=2 * HOUR)
    told: set[bool] = set()
    for _ in range(40):
        # Also to and fro: what is due at one instant was not an instant before.
        for step in (-9 * SECOND, 9 * SECOND - SECOND.resolution, SECOND.resolution):
            clock.advance(step)
            before, live = store.head().id, store.get(TOKEN)
            answered = store.peek(TOKEN)
            session = store.authenticate(TOKEN)
            nothing_else = live is not None and store.head().id == before
            assert answered == (session if nothing_else else None)
            told.add(nothing_else)
        clock.advance(HOUR / 10)
    assert told == {True, False}


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_client_s_garbage_is_nothing(settled: SessionStore, garbage: str | None) -> None:
    assert settled.peek(garbage) is None


def test_what_no_client_can_send_is_the_caller_s_error(settled: SessionStore) -> None:
    with pytest.raises(InvalidSession):
        settled.peek(b"x" * 40)  # type: ignore[arg-type]


def test_a_session_is_the_caller_s_own(store: SessionStore) -> None:
    store.create("alice", token=TOKEN, attributes={"n": 1})
    some(store.peek(TOKEN)).attributes["n"] = 2
    assert some(store.peek(TOKEN)).attributes == {"n": 1}
