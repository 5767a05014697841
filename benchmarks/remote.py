"""A ledger in PostgreSQL beside bare statements and Django's sessions on the same server, over a
Unix socket; and beside starsessions on a Redis that flushes too."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.creating import BATCH, create_in_tasks
from benchmarks.peers.contender import TTL, claims, new_token
from benchmarks.peers.postgres_peers import INDEX, INSERT, INSERT_ALL, SCHEMA, columns, key, row
from benchmarks.peers.servers import STARTERS, Missing
from benchmarks.rounds import Goal, Timing, measure
from sessionledger import AsyncSessionStore, SessionStore

SESSIONS = 10_000
READS = 500
CREATES = 50
REVOKES, EACH = 10, 10

SELECT, GET = "bare SELECT", "get"
GET_TASKS = f"get, {BATCH} tasks"
INSERTED, CREATE = "bare INSERT, committed", "create"
BATCHED, CREATE_TASKS = f"bare INSERT of {BATCH}, committed", f"create, {BATCH} tasks"
UPDATED, REVOKED = f"bare UPDATE of {EACH}, committed", f"revoke_all of {EACH}"
DJANGO_GET, DJANGO_CREATE = "Django sessions, db: load", "Django sessions, db: save"
STARS_GET = "starsessions on Redis: load"

GOALS = (
    Goal(GET, SELECT, 1.25),
    Goal(GET_TASKS, SELECT, 0.4),
    Goal(CREATE, INSERTED, 2.0),
    Goal(CREATE_TASKS, BATCHED, 4.0),
    Goal(REVOKED, UPDATED, 2.5),
    Goal(GET, DJANGO_GET, 1.0),
    Goal(CREATE, DJANGO_CREATE, 1.0),
    Goal(GET, STARS_GET, 1.0),
)

Contenders = dict[str, Callable[[], int]]


def remote(folder: Path, rounds: int) -> dict[str, Timing]:
    """Microseconds for each session; for each call where several sessions end by it."""
    with ExitStack() as stack:
        try:
            place = _started(stack, folder, "postgres")
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
        tokens = itertools.cycle(_filled(bare, runner, loops, "user", SESSIONS))
        count = (rounds + 1) * REVOKES * EACH
        _filled(bare, runner, loops, "leaver", count)
        leavers, updated = ((f"leaver {n}" for n in range(count // EACH)) for _ in range(2))
        ours: Contenders = {
            SELECT: lambda: _select(bare, tokens),
            GET: lambda: _get(store, tokens),
            GET_TASKS: lambda: runner.run(_get_in_tasks(loops, tokens)),
            INSERTED: lambda: _insert(bare),
            CREATE: lambda: _create(store),
            BATCHED: lambda: _insert_batches(bare),
            CREATE_TASKS: lambda: runner.run(create_in_tasks(loops)),
            UPDATED: lambda: _update(bare, updated),
            REVOKED: lambda: _revoke(store, leavers),
        }
        return measure(ours | _django(stack, url) | _stars(stack, folder, runner), rounds)


def _started(stack: ExitStack, folder: Path, server: str) -> dict[str, object]:
    """What is told of a server that runs until the stack is closed. Raises `Missing`."""
    at = folder / server
    at.mkdir()
    return stack.enter_context(STARTERS[server](at, Path(sys.prefix)))


def _django(stack: ExitStack, url: str) -> Contenders:
    """Django's sessions in the same database, by one connection that stays."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    told = conninfo_to_dict(url)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": told["dbname"],
        "USER": told["user"],
        "HOST": told["host"],
        "CONN_MAX_AGE": None,
    }
    apps = ["django.contrib.sessions"]
    secret = new_token()
    settings.configure(
        DATABASES={"default": database}, INSTALLED_APPS=apps, SECRET_KEY=secret, USE_TZ=True
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.sessions.backends.db import SessionStore as DjangoStore
    from django.db import connection

    stack.callback(connection.close)

    def save() -> str:
        session = DjangoStore()
        session.update(claims("alice"))
        session.save()
        return str(session.session_key)

    def load() -> int:
        for name in itertools.islice(keys, READS):
            assert DjangoStore(name).load()
        return READS

    def create() -> int:
        for _ in range(CREATES):
            save()
        return CREATES

    keys = itertools.cycle([save() for _ in range(READS)])
    return {DJANGO_GET: load, DJANGO_CREATE: create}


def _stars(stack: ExitStack, folder: Path, runner: asyncio.Runner) -> Contenders:
    """starsessions on a Redis of their own; nothing where that is not installed."""
    try:
        import redis.asyncio
        from starlette.requests import HTTPConnection
        from starsessions.session import SessionHandler
        from starsessions.stores.redis import RedisStore

        from benchmarks.peers.starsessions_peers import Json

        place = _started(stack, folder, "redis")
    except (ImportError, Missing) as missing:
        print(f"  not run: starsessions on Redis: {missing}")
        return {}
    client = redis.asyncio.Redis(port=int(str(place["redis_port"])))
    stack.callback(lambda: runner.run(client.aclose()))
    kept: Any = RedisStore(connection=client)
    serializer: Any = Json()

    def handler(key: str | None) -> Any:
        return SessionHandler(HTTPConnection({"type": "http"}), key, kept, serializer, TTL)

    async def save() -> str:
        session = handler(None)
        await session.load()
        session.connection.session.update(claims("alice"))
        return str(await session.save(TTL))

    async def load() -> int:
        for name in itertools.islice(keys, READS):
            session = handler(name)
            await session.load()
            assert session.connection.session
        return READS

    async def fill() -> list[str]:
        return [await save() for _ in range(READS)]

    keys = itertools.cycle(runner.run(fill()))
    return {STARS_GET: lambda: runner.run(load())}


def _filled(
    bare: psycopg.Connection,
    runner: asyncio.Runner,
    store: AsyncSessionStore,
    name: str,
    count: int,
) -> list[str]:
    """Tokens of sessions that both hold."""
    names = [f"{name} {number // EACH}" for number in range(count)]

    async def fill() -> list[str]:
        return [one.token for one in await asyncio.gather(*map(store.create, names))]

    tokens = runner.run(fill())
    rows = [row(token, owner) for token, owner in zip(tokens, names, strict=True)]
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


def _update(bare: psycopg.Connection, owners: Iterator[str]) -> int:
    cursor = bare.cursor(binary=True)
    for owner in itertools.islice(owners, REVOKES):
        cursor.execute("UPDATE sessions SET record = record || %b WHERE owner = %b", (b" ", owner))
        assert cursor.rowcount == EACH
    return REVOKES


def _revoke(store: SessionStore, owners: Iterator[str]) -> int:
    for owner in itertools.islice(owners, REVOKES):
        assert store.revoke_all(owner) == EACH
    return REVOKES
