"""Sessions as the last message of a subject each, in a NATS JetStream that flushes always."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from secrets import token_hex
from typing import Any

import msgspec
import nats
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import NotFoundError

from benchmarks.bare import DOMAIN
from benchmarks.peers.bare import issued, session
from benchmarks.peers.contender import (
    CREATE,
    CREATE_TOGETHER,
    VALIDATE,
    Loop,
    Peer,
    Place,
    Promises,
    Together,
    new_token,
)
from sessionledger import Session

STREAM = "SESSIONS"
LARGEST_BATCH = 1000
PROMISES = Promises("yes", "yes, in every process", "with an index of your own", "yes, on one node")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


def _subject(token: str) -> str:
    return "sessions." + sha256(DOMAIN + token.encode()).hexdigest()


class _Stream:
    """One connection, one stream."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.stream = client.jetstream(timeout=60)

    async def validate(self, token: str) -> Session:
        found = await self.stream.get_last_msg(STREAM, _subject(token), direct=True)
        return _decode(found.data)

    async def create(self, owner: str) -> str:
        token = new_token()
        await self.stream.publish(_subject(token), _encode(session(token, owner)))
        return token

    async def create_all(self, batch: list[Any]) -> None:
        await self.store([(token, session(token, owner)) for owner, token in batch])

    async def store(self, batch: list[tuple[str, Session]]) -> None:
        """One atomic batch: only the last message is answered, when all are on the disk."""
        name = token_hex(16)
        for number, (token, one) in enumerate(batch, 1):
            headers = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
            subject, record = _subject(token), _encode(one)
            if number < len(batch):
                await self.client.publish(subject, record, headers=headers)
            else:
                headers["Nats-Batch-Commit"] = "1"
                answer = await self.stream.publish(subject, record, headers=headers)
                assert answer.seq

    async def end(self, token: str) -> None:
        await self.stream.purge_stream(STREAM, subject=_subject(token))

    async def fill(self, place: Place) -> list[str]:
        filled = issued(place)
        for start in range(0, len(filled), LARGEST_BATCH):
            await self.store(filled[start : start + LARGEST_BATCH])
        return [token for token, _ in filled]


async def _open(port: int) -> _Stream:
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    opened = _Stream(client)
    config = StreamConfig(
        name=STREAM,
        subjects=["sessions.*"],
        storage=StorageType.FILE,
        max_msgs_per_subject=1,
        allow_direct=True,
        allow_atomic=True,
    )
    await opened.stream.add_stream(config)
    return opened


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    loop = Loop()
    opened = loop.run(_open(place.nats_port))
    told = str(opened.client.connected_server_version).strip("<>")
    server = f"{told}, nats-py {version('nats-py')}"
    if variant == "single":
        yield _single(opened, loop, server, loop.run(opened.fill(place)))
    else:
        yield _batched(opened, loop, server)
    loop.run(opened.client.close())
    loop.close()


def _single(opened: _Stream, loop: Loop, server: str, tokens: list[str]) -> Peer:
    return Peer(
        name="JetStream",
        version=server,
        promises=PROMISES,
        measured={
            VALIDATE: "the last message of a subject by direct get, decoded; no expiry",
            CREATE: "`publish`, acknowledged; file storage, sync_interval always, one node",
            CREATE_TOGETHER: "128 tasks, each `publish`, on one connection",
        },
        tokens=tokens,
        validate=opened.validate,
        whose=lambda found: str(found.principal),
        create=opened.create,
        end=opened.end,
        refusals=(NotFoundError,),
        loop=loop,
    )


def _batched(opened: _Stream, loop: Loop, server: str) -> Peer:
    together = Together(opened.create_all)

    async def create(owner: str) -> str:
        token = new_token()
        await together.call((owner, token))
        return token

    return Peer(
        name="JetStream, tasks batched by hand",
        version=server,
        promises=PROMISES,
        measured={CREATE_TOGETHER: "128 tasks, one atomic batch a turn of the loop; always synced"},
        create=create,
        loop=loop,
        only=(CREATE_TOGETHER,),
    )
