"""Nobody uses a token again that a compaction forgets meanwhile, whenever it is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from sessionledger import DuplicateSession, InvalidSession, LogEvent, SessionStore, Unit
from sessionledger.core.token import digest, handle_of
from sessionledger.errors import MaintenanceRunning
from sessionledger.logs.base import Change, Row
from sessionledger.logs.file.compaction import compactor as file_compactor
from sessionledger.logs.sql import compactor
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing import Clock
from sessionledger.testing.forked_child import fork, reap
from tests.logs.conftest import LOGS
from tests.logs.openers import address

RETENTION = timedelta(days=2)
DAY = timedelta(days=1)
SUPPLIED = "a-token-that-somebody-supplied-{:02}"

Work = Callable[[Any], Any]


@pytest.fixture(params=["sqlite", "file", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(kind: str, place: Path, clock: Clock) -> Iterator[SessionStore]:
    with SessionStore.open(address(kind, place), clock=clock, durability="normal") as store:
        yield store


def begin(store: SessionStore, clock: Clock) -> list[str]:
    """Ended sessions, all old: most have a generated token. One session lives on."""
    ended = [store.create("alice", ttl=90 * DAY).token for _ in range(4)]
    ended += [store.create("alice", ttl=90 * DAY, token=SUPPLIED.format(n)).token for n in range(2)]
    replaced = store.create("alice", ttl=90 * DAY).token
    rotated = store.rotate(replaced)
    assert rotated is not None
    ended += [replaced, rotated.token]
    for token in ended:
        store.expire(token)
    store.create("bob", ttl=90 * DAY)
    clock.advance(3 * DAY)
    store.create("bob", ttl=90 * DAY)
    return ended


def refused(store: SessionStore, token: str) -> bool:
    """Whether the token can't be used, neither for a login nor for a child."""
    (parent, *_) = store.sessions(principal="bob")
    for above in (None, parent.handle):
        try:
            store.create("mallory", token=token, parent=above)
        except (DuplicateSession, InvalidSession):
            continue
        return False
    return True


def with_each_transaction(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[], None], after: Callable[[], None]
) -> None:
    """Have something happen before and after each transaction of a compaction.

    Of a file: each step at which others write.
    """
    real = compactor.Compactor._in_transaction
    for name, size in {"PAGE": 4, "ENTRIES": 4, "STAGED_BYTES": 2000}.items():
        monkeypatch.setattr(compactor, name, size)

    def watched(self: Any, work: Work) -> Any:
        before()
        answer = real(self, work)
        after()
        return answer

    monkeypatch.setattr(compactor.Compactor, "_in_transaction", watched)
    for name in ("_reduced", "_write", "_copied", "_attempt"):
        step = vars(file_compactor.Compactor)[name]

        def stepped(self: Any, *given: Any, step: Any = step) -> Any:
            before()
            answer = step(self, *given)
            before()
            after()
            return answer

        monkeypatch.setattr(file_compactor.Compactor, name, stepped)


@pytest.mark.middle
def test_at_no_step_of_a_compaction_is_a_token_free_again(
    kind: str, place: Path, store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, tried = begin(store, clock), 0
    with SessionStore.open(address(kind, place), clock=clock, durability="normal") as other:

        def attempt() -> None:
            nonlocal tried
            tried += 1
            assert all(refused(other, token) for token in ended)

        with_each_transaction(monkeypatch, attempt, attempt)
        found = store.compact(retention=RETENTION)
    assert (found.sessions, found.forgotten) == (2, 6)
    assert tried > (10 if kind == "file" else 20)
    assert store.diagnose() == []
    assert list(store.sessions(principal="mallory", state="all")) == []
    assert store.stats().sessions == 2


@pytest.mark.middle
def test_of_processes_that_try_none_uses_a_token_again(
    kind: str, place: Path, store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = begin(store, clock)
    stop, ready = place.with_name("stop"), [place.with_name(f"ready-{n}") for n in range(3)]

    def use(number: int) -> None:
        with SessionStore.open(address(kind, place), clock=clock, durability="normal") as other:
            while not stop.exists():
                assert all(refused(other, token) for token in ended)
                ready[number].touch()

    children = [fork(partial(use, n)) for n in range(3)]
    try:
        monkeypatch.setattr(compactor, "PAGE", 1)
        monkeypatch.setattr(compactor, "ENTRIES", 1)
        assert until(lambda: all(path.exists() for path in ready))
        assert store.compact(retention=RETENTION).forgotten == 6
        for path in ready:
            path.unlink()
        assert until(lambda: all(path.exists() for path in ready))
    finally:
        stop.touch()
        codes = [reap(child) for child in children]
    assert codes == [0, 0, 0]
    assert list(store.sessions(principal="mallory", state="all")) == []
    assert store.diagnose() == []


def until(holds: Callable[[], bool]) -> bool:
    """Wait for a condition, which somebody else brings about."""
    waiting = Event()
    for _ in range(6000):
        if holds():
            return True
        waiting.wait(0.01)
    return False


@pytest.mark.parametrize("step", range(1, 9))
def test_an_end_that_another_program_appends_meanwhile_leaves_the_rows_right(
    kind: str,
    place: Path,
    store: SessionStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    token, left = begin(store, clock)[0], step
    end = {"token_handle": handle_of(digest(token)), "expired_at": "2026-01-01T00:00:00Z"}
    late = LogEvent.of("session_expired", end, occurred_at_ms=at(clock))
    bare = LOGS[kind].append_bare
    assert bare is not None

    def append() -> None:
        nonlocal left
        left -= 1
        if left:
            return
        if store.verify().cut:
            store._log.append(SESSIONS_TOPIC, [Unit([Change(late)])])
        else:
            bare(place, SESSIONS_TOPIC, [late])

    with_each_transaction(monkeypatch, append, lambda: None)
    store.compact(retention=RETENTION)
    assert left <= 0
    for _ in range(2):
        assert refused(store, token)
        assert store.get(token) is None
        assert {one.code for one in store.diagnose()} <= {"unchained_events", "chain_broken"}
        before = rows(store)
        store.rebuild()
        assert rows(store) == before
    clock.advance(3 * DAY)
    store.create("bob", ttl=90 * DAY)
    store.compact(retention=RETENTION, accept_break=store.head().id)
    assert refused(store, token)
    assert store.verify().ok
    assert store.diagnose() == []


def rows(store: SessionStore) -> list[Row]:
    return store._log.rows(SESSIONS_TOPIC)


def at(clock: Clock) -> int:
    return int(1000 * clock.now.timestamp())


def test_a_compaction_that_another_overtook_forgets_nothing_unsealed(
    store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = begin(store, clock)
    handles = [one.handle for one in store.sessions(principal="alice", state="all")]

    def overtaken(*_: Any) -> None:
        raise MaintenanceRunning("another process took over")

    with monkeypatch.context() as patches, pytest.raises(MaintenanceRunning):
        patches.setattr(compactor.Compactor, "_seal", overtaken)
        patches.setattr(file_compactor.Compactor, "_seal", overtaken)
        store.compact(retention=RETENTION)
    assert len(list(store.history(handle=handles[0]))) > 0
    assert store.diagnose() == []
    assert store.compact(retention=RETENTION).forgotten == 6
    assert all(refused(store, token) for token in ended)
