"""Others write to PostgreSQL in the middle of most transactions of a compaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionledger import MaintenanceRunning, SessionStore
from sessionledger.logs.sql import compactor, statements
from sessionledger.logs.sql.compactor import Compactor
from sessionledger.testing import Clock
from tests.logs import bare_postgres
from tests.logs.openers import address

RETENTION = timedelta(days=2)


def begin(store: SessionStore, clock: Clock) -> None:
    """Sessions of which some are over, and events that are old enough to go."""
    tokens = [store.create("alice", ttl=timedelta(days=900)).token for _ in range(8)]
    for number in range(30):
        store.touch(tokens[number % 8], attributes={"number": number})
    for token in tokens[:3]:
        store.expire(token)
    clock.advance(timedelta(days=3))


def within(monkeypatch: pytest.MonkeyPatch, step: Callable[[str], None]) -> None:
    """Call something within each transaction that does not keep the topic to itself."""
    real, alone = Compactor._in_transaction, Compactor._alone
    is_alone = False

    def kept(self: Any, work: Any) -> Any:
        nonlocal is_alone
        is_alone = True
        try:
            return alone(self, work)
        finally:
            is_alone = False

    def watched(self: Any, work: Callable[[Any], Any]) -> Any:
        def then(writer: Any) -> Any:
            answer = work(writer)
            if not is_alone:
                writer.select("SELECT 1")  # What was to be written is sent before that.
                step(work.__qualname__.split(".")[1])
            return answer

        return real(self, then)

    monkeypatch.setattr(Compactor, "_alone", kept)
    monkeypatch.setattr(Compactor, "_in_transaction", watched)
    for name, size in {"PAGE": 4, "ENTRIES": 4}.items():
        monkeypatch.setattr(compactor, name, size)


@pytest.mark.middle
def test_an_append_does_not_wait_for_entries_or_removals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, clock, steps = address("postgresql", tmp_path / "ledger"), Clock(), list[str]()
    with (
        SessionStore.open(url, clock=clock, durability="normal") as store,
        SessionStore.open(
            url, clock=clock, durability="normal", timeout=timedelta(seconds=5)
        ) as other,
    ):
        begin(store, clock)

        def append(step: str) -> None:
            steps.append(step)
            other.create("bob", ttl=timedelta(days=900))

        within(monkeypatch, append)
        assert store.compact(retention=RETENTION).sealed
        assert {"_write", "_remove", "_remove_links"} <= set(steps)
        assert other.count(principal="bob") == len(steps)
        assert other.verify().ok
        assert other.diagnose() == []


def test_nobody_takes_over_in_the_middle_of_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, clock, tried = tmp_path / "ledger", Clock(), list[str]()
    with SessionStore.open(address("postgresql", place), clock=clock) as store:
        begin(store, clock)

        def take_over(step: str) -> None:
            with pytest.raises(Exception, match="lock timeout"):
                bare_postgres.execute(
                    place,
                    "SET lock_timeout = '50ms'; UPDATE ledger_meta SET value = 'x'"
                    " WHERE name = 'maintenance'",
                )
            tried.append(step)

        within(monkeypatch, take_over)
        assert store.compact(retention=RETENTION).sealed
        assert tried


def test_a_compaction_that_was_taken_over_writes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, clock = tmp_path / "ledger", Clock()
    with SessionStore.open(address("postgresql", place), clock=clock) as store:
        begin(store, clock)
        real = Compactor._write

        def write(self: Any, *given: Any) -> None:
            bare_postgres.execute(
                place, statements.SET_JOB.replace("?", "'x'").replace("main.", "")
            )
            real(self, *given)

        monkeypatch.setattr(Compactor, "_write", write)
        with pytest.raises(MaintenanceRunning):
            store.compact(retention=RETENTION)
        assert bare_postgres.execute(place, "SELECT count(*) FROM ledger_base") == [(0,)]
