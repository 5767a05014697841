"""starsessions, in memory and in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import msgspec
import redis
import redis.asyncio

from benchmarks.peers.contender import (
    CREATE,
    CREATE_TOGETHER,
    TTL,
    VALIDATE,
    Loop,
    Peer,
    Place,
    Promises,
    claims,
)
from benchmarks.peers.redis_peers import BY_KEY

IN_MEMORY = Promises("no", "yes, in one process", "no", "yes, in one process")


class Json:
    """The fastest serializer that starsessions takes."""

    serialize = staticmethod(msgspec.json.Encoder().encode)
    _decode = staticmethod(msgspec.json.Decoder().decode)

    @classmethod
    def deserialize(cls, data: bytes) -> Any:
        return cls._decode(data) if data else {}


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    from starlette.requests import HTTPConnection
    from starsessions.session import SessionHandler
    from starsessions.stores.memory import InMemoryStore
    from starsessions.stores.redis import RedisStore

    in_redis, loop = variant == "redis", Loop()
    serializer: Any = Json()
    store: Any = InMemoryStore()
    if in_redis:
        store = RedisStore(connection=redis.asyncio.Redis(port=place.redis_port))

    def handler(token: str | None) -> Any:
        connection = HTTPConnection({"type": "http"})
        return SessionHandler(connection, token, store, serializer, TTL)

    async def validate(token: str) -> Any:
        session = handler(token)
        await session.load()
        return session.connection.session

    async def create(owner: str, number: int = 0) -> str:
        session = handler(None)
        await session.load()
        session.connection.session.update(claims(owner, number))
        return str(await session.save(TTL))

    yield Peer(
        name=f"starsessions, {'Redis' if in_redis else 'in memory'}",
        version=f"starsessions {version('starsessions')}",
        promises=BY_KEY if in_redis else IN_MEMORY,
        measured={
            VALIDATE: "`SessionHandler.load()`, JSON by msgspec",
            CREATE: "`SessionHandler.save()`; appendfsync always",
            CREATE_TOGETHER: "128 tasks, each `SessionHandler.save()`",
        },
        tokens=loop.fill(place, create),
        validate=validate,
        whose=lambda session: str(session["sub"]),
        create=create,
        end=lambda token: handler(token).destroy(),
        loop=loop,
        only=(VALIDATE, CREATE, CREATE_TOGETHER) if in_redis else (VALIDATE,),
    )
    loop.close()
