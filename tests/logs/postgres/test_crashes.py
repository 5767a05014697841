"""The server crashes under load: what was acknowledged is there after it has recovered."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.testing.fixtures import until
from tests.postgres_server import address, execute, server, use_a_server_apart

THREADS = 4
CRASHES = 3


class Load:
    """Threads that create sessions and end every other one, and know what was acknowledged."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._over = threading.Event()
        self.created: list[str] = []
        self.ended: list[str] = []
        self._threads = [threading.Thread(target=self._work) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._over.is_set():
            with suppress(LogUnavailable):
                first, second = (self._store.create("alice").token for _ in range(2))
                self.created.append(first)
                self._store.expire(second)
                self.ended.append(second)


def crash() -> None:
    """Kill one of the server's processes, after which it starts all of them anew."""
    with psycopg.connect(server(), autocommit=True) as witness:
        ((victim,),) = witness.execute("""SELECT pid FROM pg_stat_activity
            WHERE application_name = 'sessionledger' ORDER BY random() LIMIT 1""").fetchall()
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        until(lambda: not answers(witness))
    until(is_back)


def answers(connection: psycopg.Connection[Any]) -> bool:
    try:
        return bool(connection.execute("SELECT 1"))
    except psycopg.OperationalError:
        return False


def is_back() -> bool:
    try:
        return bool(execute("SELECT 1"))
    except psycopg.OperationalError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the server's processes are another user's")
def test_what_was_acknowledged_outlives_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_server_apart(monkeypatch)
    with SessionStore.open(address(tmp_path)) as store:
        load = Load(store)
        try:
            for _ in range(CRASHES):
                before = len(load.ended)
                until(lambda before=before: len(load.ended) >= before + 20)  # type: ignore[misc]
                crash()
        finally:
            load.end()
        assert all(store.get(token) is not None for token in load.created)
        assert all(store.get(token) is None for token in load.ended)
        assert store.verify().ok
        assert store.stats().sessions >= len(load.created) + len(load.ended)
        assert not store.diagnose()
