"""A pool of connections: callers wait for one, and a process has no more than it was given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from sessionledger import (
    AsyncSessionStore,
    Change,
    InvalidPolicy,
    InvalidURL,
    LogTimeout,
    SessionStore,
    Unit,
    open_log,
)
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import PATIENCE, TOPIC, add, concurrently, event, until
from tests.logs.children import finish, start
from tests.postgres_server import address, execute, schema, server, use_a_server_apart

THREADS = 16
COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"

WORKER = """
import sys, threading
from sessionledger import SessionStore
_, url, threads = sys.argv
with SessionStore.open(url) as store:
    token = store.create("alice").token
    def work():
        for _ in range(10):
            store.create("bob")
            assert store.authenticate(token) is not None
    workers = [threading.Thread(target=work) for _ in range(int(threads))]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
"""


def role_with(limit: int, place: Path) -> str:
    """The address of a ledger whose role has so few connections."""
    name = f"few_{schema(place)[-30:]}"
    execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT {limit}")
    execute(f"CREATE SCHEMA {schema(place)} AUTHORIZATION {name}")
    return address(place).replace("postgres@", f"{name}@")


def work(store: SessionStore) -> None:
    token = store.create("alice").token
    for _ in range(5):
        assert store.authenticate(token) is not None
        store.create("bob")


@contextmanager
def most_connections(name: str) -> Iterator[list[int]]:
    """How many connections of that name there are, as a server tells again and again."""
    over, counts = threading.Event(), [0]

    def look() -> None:
        with psycopg.connect(server(), autocommit=True) as witness:
            while not over.is_set():
                counts.append(witness.execute(COUNT, (name,)).fetchall()[0][0])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join(PATIENCE)


def test_threads_share_what_a_role_may_have(tmp_path: Path) -> None:
    with SessionStore.open(role_with(8, tmp_path)) as store:
        concurrently(*[lambda: work(store)] * THREADS)
        assert store.verify().ok


def test_a_server_that_lends_fewer_than_the_pool_may_have_is_lived_with(tmp_path: Path) -> None:
    with SessionStore.open(role_with(3, tmp_path), pool_size=THREADS) as store:
        concurrently(*[lambda: work(store)] * THREADS)
        assert store.verify().ok


@pytest.mark.middle
def test_two_processes_share_a_small_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_server_apart(monkeypatch, max_connections="25")
    with SessionStore.open(address(tmp_path)) as store:
        for worker in [start(WORKER, address(tmp_path), THREADS) for _ in range(2)]:
            finish(worker)
        assert store.count(principal="bob") == 2 * 10 * THREADS


@pytest.mark.parametrize("size", [2, 4])
def test_there_are_never_more_than_were_given(tmp_path: Path, size: int) -> None:
    name = f"pool of {size}"
    url = f"{address(tmp_path)}&application_name={name.replace(' ', '%20')}&pool_size={size}"
    with most_connections(name) as counts, SessionStore.open(url) as store:

        def wait() -> None:
            for _ in range(5):
                store._log.wait(SESSIONS_TOPIC, 1 << 60, 0.05)

        jobs = [lambda: work(store)] * 8
        concurrently(*jobs, *[wait] * 4, lambda: store.rebuild(), lambda: store.diagnose())

        async def tasks() -> None:
            async with AsyncSessionStore.open(url) as sessions:
                tokens = [(await sessions.create("carol")).token for _ in range(4)]
                loops = [sessions.authenticate(token) for token in tokens for _ in range(10)]
                await asyncio.gather(*loops, *(sessions.count() for _ in range(10)))

        before = max(counts)
        store.close()
        until(lambda: execute(f"{COUNT % repr(name)}") == [(0,)])
        asyncio.run(tasks())
    assert 1 <= before <= size
    assert max(counts) <= size


def test_who_waits_in_vain_for_a_connection_is_told(tmp_path: Path) -> None:
    log = open_log(address(tmp_path), pool_size=2)
    log.timeout = 0.1  # type: ignore[misc]
    pool = log._pool  # type: ignore[attr-defined]
    with pool.lent(monotonic() + PATIENCE), pool.lent(monotonic() + PATIENCE):
        for call in (
            lambda: log.latest(TOPIC),
            lambda: log.append(TOPIC, [Unit((Change(event()),))], until=monotonic() + 0.1),
        ):
            with pytest.raises(LogTimeout, match=r"at most 2, .* larger pool_size"):
                call()
    with pool.lent(monotonic() + PATIENCE):
        assert add(log, [event()]) == (1,)
    log.close()


@pytest.mark.parametrize("size", ["0", "1", "1001", "-5", "x", "", "5&pool_size=5"])
def test_a_size_that_can_t_be_is_refused(tmp_path: Path, size: str) -> None:
    with pytest.raises(InvalidURL):
        open_log(f"{address(tmp_path)}&pool_size={size}")


@pytest.mark.parametrize("size", [0, 1, 1001, -5])
def test_a_size_that_can_t_be_given_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(InvalidPolicy, match="pool_size"):
        SessionStore.open(address(tmp_path), pool_size=size)
