"""A ledger in PostgreSQL beside bare statements on the same server, over a Unix socket."""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg

from benchmarks.creating import BATCH, create_in_tasks
from benchmarks.peers.contender import new_token
from benchmarks.peers.postgres_peers import INDEX, INSERT, INSERT_ALL, SCHEMA, columns, key, row
from benchmarks.peers.servers import STARTERS, Missing
from benchmarks.rounds import Goal, Timing, measure
from sessionledger import AsyncSessionStore, SessionStore

SESSIONS = 10_000
READS = 500
CREATES = 50

SELECT, GET = "bare SELECT", "get"
GET_TASKS = f"get, {BATCH} tasks"
INSERTED, CREATE = "bare INSERT, committed", "create"
BATCHED, CREATE_TASKS = f"bare INSERT of {BATCH}, committed", f"create, {BATCH} tasks"

GOALS = (
    Goal(GET, SELECT, 1.5),
    Goal(GET_TASKS, SELECT, 1.0),
    Goal(CREATE, INSERTED, 3.0),
    Goal(CREATE_TASKS, CREATE, 10.0, at_least=True),
)


def remote(folder: Path, rounds: int) -> dict[str, Timing]:
    """Microseconds for each session."""
    with ExitStack() as stack:
        try:
            at = folder / "server"
            at.mkdir()
            place = stack.enter_context(STARTERS["postgres"](at, Path(sys.prefix)))
        except Missing as missing:
            print(f"  not run: {missing}")
            return {}
        url = str(place["postgres_uri"])
        bare = stack.enter_context(psycopg.connect(url, autocommit=True, prepare_threshold=0))
        for statement in (SCHEMA, INDEX):
            bare.execute(statement)
        store = stack.enter_context(SessionStore.open(url))
        runner = stack.enter_context(asyncio.Runner())
        loops = AsyncSessionStore.open(url)
        runner.run(loops.__aenter__())
        stack.callback(lambda: runner.run(loops.close()))
        tokens = itertools.cycle(_filled(bare, runner, loops))
        return measure(
            {
                SELECT: lambda: _select(bare, tokens),
                GET: lambda: _get(store, tokens),
                GET_TASKS: lambda: runner.run(_get_in_tasks(loops, tokens)),
                INSERTED: lambda: _insert(bare),
                CREATE: lambda: _create(store),
                BATCHED: lambda: _insert_batches(bare),
                CREATE_TASKS: lambda: runner.run(create_in_tasks(loops)),
            },
            rounds,
        )


def _filled(
    bare: psycopg.Connection, runner: asyncio.Runner, store: AsyncSessionStore
) -> list[str]:
    """Tokens of sessions that both hold."""

    async def fill() -> list[str]:
        names = [f"user {number // 10}" for number in range(SESSIONS)]
        return [one.token for one in await asyncio.gather(*map(store.create, names))]

    tokens = runner.run(fill())
    rows = [row(token, f"user {number // 10}") for number, token in enumerate(tokens)]
    bare.cursor(binary=True).execute(INSERT_ALL, columns(rows))
    return tokens


def _select(bare: psycopg.Connection, tokens: itertools.cycle[str]) -> int:
    cursor = bare.cursor(binary=True)
    for token in itertools.islice(tokens, READS):
        sql = "SELECT record FROM sessions WHERE key = %b"
        assert cursor.execute(sql, (key(token),)).fetchone()
    return READS


def _get(store: SessionStore, tokens: itertools.cycle[str]) -> int:
    for token in itertools.islice(tokens, READS):
        assert store.get(token) is not None
    return READS


async def _get_in_tasks(store: AsyncSessionStore, tokens: itertools.cycle[str]) -> int:
    async def get() -> None:
        for token in itertools.islice(tokens, READS // 10):
            assert await store.get(token) is not None

    await asyncio.gather(*(get() for _ in range(BATCH)))
    return BATCH * (READS // 10)


def _insert(bare: psycopg.Connection) -> int:
    cursor = bare.cursor(binary=True)
    for _ in range(CREATES):
        cursor.execute(INSERT, row(new_token(), "alice"))
    return CREATES


def _create(store: SessionStore) -> int:
    for _ in range(CREATES):
        store.create("alice")
    return CREATES


def _insert_batches(bare: psycopg.Connection) -> int:
    cursor = bare.cursor(binary=True)
    for _ in range(CREATES // 10):
        rows = [row(new_token(), "alice") for _ in range(BATCH)]
        cursor.execute(INSERT_ALL, columns(rows))
    return CREATES // 10 * BATCH
