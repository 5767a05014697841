"""Sessions in a PostgreSQL that flushes before it answers, by hand, over a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import msgspec
import psycopg

from benchmarks.bare import DOMAIN
from benchmarks.peers.bare import issued, session
from benchmarks.peers.contender import (
    CREATE,
    CREATE_BATCH,
    CREATE_TOGETHER,
    LIST,
    REVOKE,
    VALIDATE,
    Loop,
    Peer,
    Place,
    Promises,
    Together,
    new_token,
)
from sessionledger import Session

PROMISES = Promises("yes", "yes, in every process", "yes", "yes")
CONNECTIONS = 32
SCHEMA = """CREATE TABLE IF NOT EXISTS sessions
    (key bytea PRIMARY KEY, owner text NOT NULL, record bytea NOT NULL)"""
INDEX = "CREATE INDEX IF NOT EXISTS sessions_by_owner ON sessions (owner)"
INSERT = "INSERT INTO sessions VALUES (%b, %b, %b)"
INSERT_ALL = "INSERT INTO sessions SELECT * FROM unnest(%b::bytea[], %b::text[], %b::bytea[])"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    with psycopg.connect(place.postgres_uri, autocommit=True, prepare_threshold=0) as connection:
        connection.execute(SCHEMA)
        connection.execute(INDEX)
        yield _sync(place, connection) if variant == "sync" else _tasks(place, connection, variant)


def _server(connection: Any) -> str:
    settings = ("fsync", "synchronous_commit", "full_page_writes")
    assert all(connection.execute(f"SHOW {one}").fetchone()[0] == "on" for one in settings)
    told = connection.execute("SHOW server_version").fetchone()[0]
    return f"PostgreSQL {told}, psycopg {version('psycopg')}"


def key(token: str) -> bytes:
    return sha256(DOMAIN + token.encode()).digest()


def row(token: str, owner: str) -> tuple[bytes, str, bytes]:
    return key(token), owner, _encode(session(token, owner))


def columns(rows: Sequence[tuple[bytes, str, bytes]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _sync(place: Place, connection: Any) -> Peer:
    execute = connection.cursor(binary=True).execute
    filled = issued(place)
    rows = [(key(token), one.principal, _encode(one)) for token, one in filled]
    execute(INSERT_ALL, columns(rows))

    def create(owner: str) -> str:
        token = new_token()
        execute(INSERT, row(token, owner))
        return token

    def create_batch(owners: Sequence[str]) -> None:
        execute(INSERT_ALL, columns([row(new_token(), owner) for owner in owners]))

    def validate(token: str) -> Session:
        found = execute("SELECT record FROM sessions WHERE key = %b", (key(token),)).fetchone()
        return _decode(found[0])

    def listing(owner: str) -> list[Session]:
        found = execute("SELECT record FROM sessions WHERE owner = %b", (owner,)).fetchall()
        return [_decode(record) for (record,) in found]

    return Peer(
        name="PostgreSQL",
        version=_server(connection),
        promises=PROMISES,
        measured={
            VALIDATE: "one prepared `SELECT` by primary key, decoded; no expiry",
            CREATE: "one prepared `INSERT`, committed; synchronous_commit on",
            CREATE_BATCH: "one `INSERT` of 128 rows",
            LIST: "one prepared `SELECT` by an index, decoded",
            REVOKE: "one prepared `DELETE` by that index",
        },
        tokens=[token for token, _ in filled],
        validate=validate,
        whose=lambda found: str(found.principal),
        create=create,
        create_batch=create_batch,
        listing=listing,
        revoke=lambda owner: execute("DELETE FROM sessions WHERE owner = %b", (owner,)),
        end=lambda token: execute("DELETE FROM sessions WHERE key = %b", (key(token),)),
        refusals=(TypeError,),
    )


class _Pool:
    """Connections that wait in line; the least that a pool can be."""

    def __init__(self) -> None:
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()

    async def open(self, uri: str, connections: int) -> None:
        for _ in range(connections):
            connection = await psycopg.AsyncConnection.connect(
                uri, autocommit=True, prepare_threshold=0
            )
            self._free.put_nowait(connection.cursor(binary=True))

    @asynccontextmanager
    async def cursor(self) -> Any:
        cursor = await self._free.get()
        try:
            yield cursor
        finally:
            self._free.put_nowait(cursor)


def _tasks(place: Place, connection: Any, variant: str) -> Peer:
    loop, pool, batched = Loop(), _Pool(), variant == "batched"
    loop.run(pool.open(place.postgres_uri, 1 if batched else CONNECTIONS))

    async def carry_out(batch: list[Any]) -> None:
        async with pool.cursor() as cursor:
            rows = [row(token, owner) for token, owner in batch]
            await cursor.execute(INSERT_ALL, columns(rows))

    together = Together(carry_out)

    async def create(owner: str) -> str:
        token = new_token()
        if batched:
            await together.call((token, owner))
        else:
            async with pool.cursor() as cursor:
                await cursor.execute(INSERT, row(token, owner))
        return token

    how = "one `INSERT` a turn of the loop" if batched else f"{CONNECTIONS} connections"
    return Peer(
        name="PostgreSQL, tasks batched by hand" if batched else "PostgreSQL, tasks on a pool",
        version=_server(connection),
        promises=PROMISES,
        measured={CREATE_TOGETHER: f"128 tasks, {how}; synchronous_commit on"},
        create=create,
        loop=loop,
        only=(CREATE_TOGETHER,),
    )
