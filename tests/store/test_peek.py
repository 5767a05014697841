"""settled and excerpt: what authenticate would answer, where it would do nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import Excerpt, InvalidSession, Policy, Session, SessionStore
from sessionledger.store import peek
from sessionledger.testing.clock import NOON, Clock
from tests.store.conftest import OTHER, TOKEN
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

VERSION = Excerpt(lambda session: session.version)


@pytest.fixture(params=[kind for kind in KINDS if kind.answers_in_place], ids=str)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(request.param, tmp_path / "ledger.db")
    yield bench
    bench.close()


def test_they_answer_nothing_where_a_loop_would_have_to_wait(tmp_path: Path) -> None:
    bench = Bench(Kind("async", "postgresql"), tmp_path / "ledger.db")
    store = bench.open()
    store.create("alice", token=TOKEN)
    assert store.authenticate(TOKEN) is not None
    assert store.settled(TOKEN) is None
    assert store.excerpt(TOKEN, VERSION) is None
    bench.close()


@pytest.mark.parametrize("policy", POLICIES, ids=range(len(POLICIES)))
def test_they_answer_until_there_is_something_to_write_or_it_ends(
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
            answered, version = store.settled(TOKEN), store.excerpt(TOKEN, VERSION)
            session = store.authenticate(TOKEN)
            nothing_else = live is not None and store.head().id == before
            assert answered == (session if nothing_else else None)
            assert version == (some(session).version if nothing_else else None)
            told.add(nothing_else)
        clock.advance(HOUR / 10)
    assert told == {True, False}


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_client_s_garbage_is_nothing(settled: SessionStore, garbage: str | None) -> None:
    assert settled.settled(garbage) is None
    assert settled.excerpt(garbage, VERSION) is None


def test_what_no_client_can_send_is_the_caller_s_error(settled: SessionStore) -> None:
    for call in (settled.settled, lambda token: settled.excerpt(token, VERSION)):
        with pytest.raises(InvalidSession):
            call(b"x" * 40)  # type: ignore[arg-type]


def test_an_excerpt_is_taken_again_only_from_a_session_that_has_changed(
    store: SessionStore, clock: Clock
) -> None:
    taken: list[Session] = []

    def take(session: Session) -> object:
        taken.append(session)
        return session.attributes["n"]

    number = Excerpt(take)
    store.create("alice", token=TOKEN, attributes={"n": 1})
    store.create("alice", token=OTHER, attributes={"n": 5})
    assert [store.excerpt(TOKEN, number) for _ in range(3)] == [1, 1, 1]
    assert len(taken) == 1
    store.patch(TOKEN, {"n": 2})
    assert [store.excerpt(TOKEN, number) for _ in range(3)] == [2, 2, 2]
    assert store.excerpt(OTHER, number) == 5
    assert len(taken) == 3
    store.expire(TOKEN)
    assert store.excerpt(TOKEN, number) is None
    assert store.excerpt(OTHER, number) == 5
    assert taken[0].last_seen_at == NOON == clock()


def test_a_session_is_the_caller_s_own(store: SessionStore) -> None:
    store.create("alice", token=TOKEN, attributes={"n": 1})
    some(store.settled(TOKEN)).attributes["n"] = 2
    assert some(store.settled(TOKEN)).attributes == {"n": 1}


def test_excerpts_of_large_sessions_are_not_kept_and_never_too_many(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peek, "MAX_ROWS", 3)
    store.create("alice", token=TOKEN, attributes={"a": "x" * peek.MAX_STATE_BYTES})
    assert store.excerpt(TOKEN, Excerpt(_principal)) == "alice"
    excerpt = Excerpt(_principal)
    assert store.excerpt(TOKEN, excerpt) == "alice"
    assert len(excerpt.of_rows) == 0
    for number in range(8):
        token = store.create(f"p{number}").token
        assert store.excerpt(token, excerpt) == f"p{number}"
        assert 1 <= len(excerpt.of_rows) <= 3


def _principal(session: Session) -> str:
    return session.principal
