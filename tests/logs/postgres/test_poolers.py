"""Behind PgBouncer, whose connections to the server are other clients' a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest

from sessionledger import AsyncSessionStore, LogUnavailable, MaintenanceRunning, SessionStore
from sessionledger.testing import Clock
from sessionledger.testing.fixtures import PATIENCE, concurrently
from tests import pgbouncer

RETENTION = timedelta(hours=48)
THREADS = 16


@pytest.fixture
def url(tmp_path: Path) -> str:
    return pgbouncer.address("transaction", tmp_path)


@contextmanager
def another_client(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Of the same pooler, and so of the same sessions of the server."""
    address = url.partition("&schema")[0]
    with psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection:
        yield connection


def test_threads_and_tasks_share_the_few_connections_that_a_pooler_has(url: str) -> None:
    with SessionStore.open(url) as store:
        tokens = concurrently(*[lambda: store.create("alice").token] * THREADS)
        assert all(concurrently(*[lambda one=one: store.get(one) for one in tokens]))

    async def tasks() -> None:
        async with AsyncSessionStore.open(url) as sessions:
            assert all(await asyncio.gather(*map(sessions.get, tokens)))
            await asyncio.gather(*map(sessions.expire, tokens))
            assert await sessions.count() == 0
            assert (await sessions.verify()).ok

    asyncio.run(tasks())


def test_nothing_of_ours_is_left_to_another_client(url: str) -> None:
    shown = ["search_path", "synchronous_commit", "lock_timeout", "row_security"]
    with another_client(url) as other, SessionStore.open(url) as store:

        def seen() -> list[Any]:
            settings = [other.execute(f"SHOW {name}".encode()).fetchall() for name in shown]
            prepared = other.execute("SELECT count(*) FROM pg_prepared_statements").fetchall()
            locks = """SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
                WHERE locktype = 'advisory' AND datname = current_database()"""
            return [settings, prepared, other.execute(locks).fetchall()]

        before = seen()
        for _ in range(20):
            token = store.create("alice").token
            assert store.get(token) is not None
            assert seen() == before
        store.rebuild()
        assert seen() == before


def test_the_answer_is_durable_whatever_the_session_was_left_with(url: str) -> None:
    with another_client(url) as other, SessionStore.open(url) as store:
        for _ in range(2 * pgbouncer.SERVER_CONNECTIONS):
            other.execute("SET synchronous_commit = off; SET search_path = nowhere")
            other.execute("SET array_nulls = off; SET lock_timeout = '1ms'")
            shown: list[Any] = []
            store._log._transactions.run(  # type: ignore[attr-defined]
                lambda one: shown.extend(one.ask(("SHOW synchronous_commit", ()))),  # noqa: B023
                monotonic() + PATIENCE,
            )
            assert shown == [[("on",)]]
            assert store.get(store.create("alice").token) is not None
        assert store.verify().ok
        other.execute("RESET ALL")


def test_one_process_at_a_time_maintains_a_ledger(url: str) -> None:
    clock = Clock()
    with SessionStore.open(url, clock=clock) as store:
        for _ in range(3):
            store.expire(store.create("alice").token)
        clock.advance(timedelta(days=3))
        with SessionStore.open(url, clock=clock) as other:
            lease = other._log._lease  # type: ignore[attr-defined]
            with lease(), pytest.raises(MaintenanceRunning):
                store.compact(retention=RETENTION)
            assert store.compact(retention=RETENTION).sealed
            with lease():
                pass
            assert other.verify().ok


def test_a_pooler_in_session_mode_has_a_connection_for_each_of_ours(tmp_path: Path) -> None:
    """Ours are then more than it has: some wait for those that are given back."""
    url = pgbouncer.address("session", tmp_path)
    with SessionStore.open(f"{url}&pool_size={2 * pgbouncer.SERVER_CONNECTIONS}") as store:
        tokens = concurrently(*[lambda: store.create("alice").token] * THREADS)
        assert all(concurrently(*[lambda one=one: store.get(one) for one in tokens]))


def test_a_pooler_whose_connections_are_all_taken_is_told(tmp_path: Path) -> None:
    url = pgbouncer.address("session", tmp_path)
    with SessionStore.open(f"{url}&pool_size={pgbouncer.SERVER_CONNECTIONS}") as store:
        pool = store._log._pool  # type: ignore[attr-defined]
        with ExitStack() as taken:
            for _ in range(pgbouncer.SERVER_CONNECTIONS):
                taken.enter_context(pool.lent(monotonic() + PATIENCE))
            with pytest.raises(LogUnavailable, match="pool_size"):
                SessionStore.open(f"{url}&timeout=500ms")
    SessionStore.open(url).close()
