"""Sessions in a Redis that flushes before it answers, by hand and as frameworks keep them there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import msgspec
import redis
import redis.asyncio

from benchmarks.bare import DOMAIN
from benchmarks.peers.bare import issued, session
from benchmarks.peers.contender import (
    CREATE,
    CREATE_BATCH,
    CREATE_TOGETHER,
    LIST,
    REVOKE,
    TTL,
    VALIDATE,
    Loop,
    Peer,
    Place,
    Promises,
    Together,
    claims,
    fill,
    new_token,
)
from sessionledger import Session

BY_HAND = Promises("yes", "yes, in every process", "yes", "yes")
BY_KEY = Promises("yes", "yes, in every process", "no", "yes")
REVOKING = """local keys = redis.call('SMEMBERS', KEYS[1])
redis.call('UNLINK', KEYS[1], unpack(keys))
return #keys"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    yield VARIANTS[variant](place)


def _key(token: str) -> bytes:
    return b"s:" + sha256(DOMAIN + token.encode()).hexdigest().encode()


def _queue(pipeline: Any, owner: str, token: str, one: Session) -> None:
    """The session and the index by principal."""
    key = _key(token)
    pipeline.set(key, _encode(one), ex=TTL)
    pipeline.sadd(f"o:{owner}", key)


def _filled(client: Any, place: Place) -> list[str]:
    filled = issued(place)
    pipeline = client.pipeline(transaction=False)
    for token, one in filled:
        _queue(pipeline, one.principal, token, one)
    pipeline.execute()
    return [token for token, _ in filled]


def _server(client: Any) -> str:
    told = client.info("server")["redis_version"]
    assert client.config_get("appendfsync")["appendfsync"] == "always"
    return f"Redis {told}, redis-py {version('redis')}, hiredis"


def _sync(place: Place) -> Peer:
    client: Any = redis.Redis(port=place.redis_port)
    revoking = client.register_script(REVOKING)

    def create_batch(owners: Sequence[str]) -> list[str]:
        tokens = [new_token() for _ in owners]
        pipeline = client.pipeline(transaction=True)
        for owner, token in zip(owners, tokens, strict=True):
            _queue(pipeline, owner, token, session(token, owner))
        pipeline.execute()
        return tokens

    return Peer(
        name="Redis",
        version=_server(client),
        promises=BY_HAND,
        measured={
            VALIDATE: "one `GET`, decoded",
            CREATE: "`SET` with expiry and `SADD` to an index, in one `MULTI`; appendfsync always",
            CREATE_BATCH: "one `MULTI` of 128",
            LIST: "one `SORT … GET *` over the index, decoded",
            REVOKE: "one script: `SMEMBERS`, `UNLINK`",
        },
        tokens=_filled(client, place),
        validate=lambda token: _decode(client.get(_key(token))),
        whose=lambda found: str(found.principal),
        create=lambda owner: create_batch([owner])[0],
        create_batch=create_batch,
        listing=lambda owner: [_decode(one) for one in client.sort(f"o:{owner}", by="n", get="*")],
        revoke=lambda owner: revoking(keys=[f"o:{owner}"]),
        end=lambda token: client.unlink(_key(token)),
        refusals=(TypeError,),
    )


def _tasks(place: Place, loop: Loop, pipelined: bool) -> Peer:
    blocking: Any = redis.Redis(port=place.redis_port)
    client: Any = redis.asyncio.Redis(port=place.redis_port)  # its pool has room for all tasks

    async def carry_out(batch: list[Any]) -> None:
        pipeline = client.pipeline(transaction=False)
        for owner, token in batch:
            _queue(pipeline, owner, token, session(token, owner))
        await pipeline.execute()

    together = Together(carry_out)

    async def create(owner: str) -> str:
        token = new_token()
        await (together.call((owner, token)) if pipelined else carry_out([(owner, token)]))
        return token

    how = "in one pipeline a turn of the loop" if pipelined else "each on a connection of its own"
    return Peer(
        name="Redis, tasks pipelined by hand" if pipelined else "Redis, tasks on a pool",
        version=_server(blocking),
        promises=BY_HAND,
        measured={CREATE_TOGETHER: f"128 tasks, {how}; appendfsync always"},
        create=create,
        loop=loop,
        only=(CREATE_TOGETHER,),
    )


def _flask(place: Place) -> Peer:
    import flask
    from flask_session.redis import RedisSessionInterface

    app = flask.Flask(__name__)
    client: Any = redis.Redis(port=place.redis_port)
    interface = RedisSessionInterface(app, client, permanent=True)
    seconds = app.permanent_session_lifetime

    def create(owner: str, number: int = 0) -> str:
        session = interface.session_class(claims(owner, number), sid=new_token(), permanent=True)
        interface._upsert_session(seconds, session, interface.key_prefix + session.sid)
        return str(session.sid)

    def validate(token: str) -> Any:
        return interface.open_session(app, SimpleNamespace(cookies={"session": token}))

    return Peer(
        name="Flask-Session, Redis",
        version=f"Flask-Session {version('flask-session')}, {_server(client)}",
        promises=BY_KEY,
        measured={
            VALIDATE: "`open_session` with the cookie parsed already; the expiry is not renewed",
            CREATE: "the `SET` of `save_session`, without a response; appendfsync always",
        },
        tokens=fill(place, create),
        validate=validate,
        whose=lambda session: str(session["sub"]),
        create=create,
        end=lambda token: interface._delete_session(interface.key_prefix + token),
    )


def _litestar(place: Place) -> Peer:
    from litestar.middleware.session.server_side import ServerSideSessionConfig
    from litestar.stores.redis import RedisStore

    loop, blocking = Loop(), redis.Redis(port=place.redis_port)
    store = RedisStore(redis.asyncio.Redis(port=place.redis_port))
    config = ServerSideSessionConfig(max_age=TTL)
    backend = config._backend_class(config=config)

    async def validate(token: str) -> Any:
        data = await backend.get(token, store)
        return None if data is None else backend.deserialize_data(data)

    async def create(owner: str, number: int = 0) -> str:
        token = str(backend.generate_session_id())
        await backend.set(token, backend.serialize_data(claims(owner, number)), store)
        return token

    return Peer(
        name="Litestar, Redis",
        version=f"Litestar {version('litestar')}, {_server(blocking)}",
        promises=BY_KEY,
        measured={
            VALIDATE: "`ServerSideSessionBackend.get`, deserialized",
            CREATE: "`ServerSideSessionBackend.set`; appendfsync always",
            CREATE_TOGETHER: "128 tasks, each `ServerSideSessionBackend.set`",
        },
        tokens=loop.fill(place, create),
        validate=validate,
        whose=lambda session: str(session["sub"]),
        create=create,
        end=lambda token: backend.delete(token, store),
        loop=loop,
    )


VARIANTS: dict[str, Callable[[Place], Peer]] = {
    "sync": _sync,
    "pool": lambda place: _tasks(place, Loop(), pipelined=False),
    "pipelined": lambda place: _tasks(place, Loop(), pipelined=True),
    "flask": _flask,
    "litestar": _litestar,
}
