"""A compaction that is killed at any step leaves a valid ledger, and the next one ends the work."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionledger import DuplicateSession, InvalidSession, Session, SessionStore, open_log
from sessionledger.errors import InvalidEvent, MaintenanceRunning
from sessionledger.logs.sql import compactor, statements
from sessionledger.testing import Clock
from sessionledger.testing.forked_child import fork, reap
from tests.logs.openers import address

RETENTION = timedelta(days=2)
DAY = timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, tmp_path / "ledger")


def begin(url: str, clock: Clock) -> list[str]:
    """Some days of sessions that were touched, ended, rotated and that lapsed.

    Some were begun with a supplied token. So there are tombstones as well as what is forgotten.
    """
    tokens: list[str] = []
    with SessionStore.open(url, clock=clock, durability="normal") as store:
        for day in range(4):
            for number in range(6):
                ttl = DAY if number == 1 else 30 * DAY
                given = f"a-token-that-was-supplied-on-day-{day}" if number == 4 else None
                about = {"day": day}
                token = store.create("alice", ttl=ttl, attributes=about, token=given).token
                tokens.append(token)
                if number in (2, 4):
                    store.expire(token)
                if number == 3:
                    rotated = store.rotate(token)
                    assert rotated is not None
                    tokens.append(rotated.token)
                store.touch(tokens[0], attributes={"number": number})
            clock.advance(DAY)
    return tokens


def killed_at(url: str, clock: Clock, archive: Path, step: int, *, within: bool) -> bool:
    """Whether a process that compacts came to its transaction of this number, and was killed
    there, before or after it committed."""

    def work() -> None:
        real, left = compactor.Compactor._in_transaction, step
        compactor.PAGE, compactor.ENTRIES, compactor.STAGED_BYTES = 7, 7, 0

        def counted(self: Any, work: Callable[[Any], Any]) -> Any:
            nonlocal left
            left -= 1

            def killed(writer: Any) -> Any:
                work(writer)
                os.kill(os.getpid(), signal.SIGKILL)

            if left == 0:
                if within:
                    return real(self, killed)
                real(self, work)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, work)

        compactor.Compactor._in_transaction = counted  # type: ignore[method-assign]
        with SessionStore.open(url, clock=clock, durability="normal") as store:
            store.compact(retention=RETENTION, archive=archive)

    code = reap(fork(work))
    assert code in (0, -signal.SIGKILL)
    return code != 0


def read(store: SessionStore, tokens: list[str]) -> list[Session | None]:
    return [store.get(token) for token in tokens]


@pytest.mark.middle
@pytest.mark.parametrize("within", [True, False])
def test_a_kill_at_any_step_loses_nothing(url: str, within: bool, tmp_path: Path) -> None:
    clock, archive = Clock(), tmp_path / "archive"
    tokens = begin(url, clock)
    step, went_on = 0, True
    with SessionStore.open(url, clock=clock) as store:
        expected = read(store, tokens)
    while went_on:
        step += 1
        went_on = killed_at(url, clock, archive, step, within=within)
        with SessionStore.open(url, clock=clock) as store:
            assert read(store, tokens) == expected
            assert store.verify().ok
            whole = store.verify(archive=archive)
            assert (whole.broken, whole.events, whole.cut) == (None, store.head().id, 0)
            assert store.diagnose() == []
            for token in tokens:
                with pytest.raises((DuplicateSession, InvalidSession)):
                    store.create("mallory", token=token)
            store.touch(tokens[0])
            expected = read(store, tokens)
    assert step > 10
    with SessionStore.open(url, clock=clock) as store:
        store.rebuild()
        assert read(store, tokens) == expected
        cut = store.verify().cut
        assert cut > 0
        assert next(event.id for event in store.events(after=cut)) == cut + 1
        assert store.diagnose() == []


@pytest.mark.parametrize("kind", ["sqlite", "file", "postgresql"])
def test_one_process_at_a_time_maintains_a_ledger(kind: str, tmp_path: Path) -> None:
    url = address(kind, tmp_path / "ledger")
    clock = Clock()
    begin(url, clock)

    with SessionStore.open(url, clock=clock) as store:
        other = open_log(url)
        with other._lease(), pytest.raises(MaintenanceRunning):  # type: ignore[attr-defined]
            store.compact(retention=RETENTION)
        with other._lease(), pytest.raises(MaintenanceRunning):  # type: ignore[attr-defined]
            store.rebuild()
        other.close()
        assert store.compact(retention=RETENTION).sealed


def test_a_lease_that_was_lost_unnoticed_stops_the_compaction(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    tokens = begin(url, clock)
    real = compactor.Compactor._reduce
    with SessionStore.open(url, clock=clock) as store, SessionStore.open(url, clock=clock) as other:

        def overtaken(self: Any, line: Any) -> Any:
            self._change(lambda writer: writer.then(statements.SET_JOB, "another"))
            return real(self, line)

        monkeypatch.setattr(compactor.Compactor, "_reduce", overtaken)
        before = read(store, tokens)
        with pytest.raises(MaintenanceRunning):
            store.compact(retention=RETENTION)
        monkeypatch.undo()
        assert read(store, tokens) == before
        assert other.compact(retention=RETENTION).sealed
        assert read(store, tokens) == before
        assert other.diagnose() == []


def test_maintenance_that_failed_lets_the_next_one_begin_at_once(url: str) -> None:
    log = open_log(url)
    for _ in range(30):
        with pytest.raises(InvalidEvent):
            log.rebuild("a topic without a fold")
    log.close()
