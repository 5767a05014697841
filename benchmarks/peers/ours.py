"""sessionledger: the rows that the others are held against."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.peers.contender import (
    CREATE,
    CREATE_TOGETHER,
    EACH,
    LIST,
    REVOKE,
    TTL,
    VALIDATE,
    Loop,
    Peer,
    Place,
    Promises,
    principal,
)
from sessionledger import AsyncSessionStore, Policy, Session, SessionStore, __version__

NAME = "sessionledger"
PROMISES = Promises("yes", "yes, in every process", "yes", "yes")
LIFE = timedelta(seconds=TTL)
# Long enough that no touch falls due while this runs.
POLICY = Policy(touch_interval=timedelta(days=1))


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    url = f"sqlite:///{Path(place.folder) / 'sessions.db'}"
    tokens = asyncio.run(_fill(url, place.sessions))
    if variant.startswith("async"):
        loop = Loop()
        store = loop.run(_opened(url))
        yield _async(store, loop, variant, tokens)
        loop.run(store.close())
        loop.close()
    else:
        with SessionStore.open(url, policy=POLICY) as opened:
            yield _sync(opened, variant, tokens)


def _whose(session: Any) -> str:
    assert isinstance(session, Session)
    return session.principal


def _attributes(number: int) -> dict[str, Any]:
    return {"role": "operator", "number": number}


async def _opened(url: str) -> AsyncSessionStore:
    return await AsyncSessionStore.open(url, policy=POLICY).__aenter__()


async def _fill(url: str, sessions: int) -> list[str]:
    async with AsyncSessionStore.open(url, durability="normal") as store:
        issued = []
        for start in range(0, sessions, 1000):
            creates = [
                store.create(principal(number), ttl=LIFE, attributes=_attributes(number))
                for number in range(start, min(start + 1000, sessions))
            ]
            issued += await asyncio.gather(*creates)
    return [one.token for one in issued]


def _sync(store: SessionStore, variant: str, tokens: list[str]) -> Peer:
    def create(owner: str) -> str:
        return store.create(owner, ttl=LIFE, attributes=_attributes(0)).token

    def revoke(owner: str) -> None:
        assert store.revoke_all(owner) == EACH

    whole = variant == "get"
    return Peer(
        name=NAME if whole else f"{NAME}, authenticate",
        version=f"{NAME} {__version__}",
        promises=PROMISES,
        measured={
            VALIDATE: f"`SessionStore.{variant}(token)`",
            CREATE: "`SessionStore.create`, one thread",
            LIST: "`SessionStore.sessions(principal=…)`, all ten",
            REVOKE: "`SessionStore.revoke_all(principal)`, ten sessions",
        },
        tokens=tokens,
        validate=store.get if whole else store.authenticate,
        whose=_whose,
        create=create,
        listing=lambda owner: list(store.sessions(principal=owner)),
        revoke=revoke,
        end=store.expire,
        only=(VALIDATE, CREATE, LIST, REVOKE) if whole else (VALIDATE,),
    )


def _async(store: AsyncSessionStore, loop: Loop, variant: str, tokens: list[str]) -> Peer:
    async def create(owner: str) -> str:
        return (await store.create(owner, ttl=LIFE, attributes=_attributes(0))).token

    async def listing(owner: str) -> list[Session]:
        return [one async for one in store.sessions(principal=owner)]

    whole = variant == "async"
    return Peer(
        name=f"{NAME}, async" if whole else f"{NAME}, async authenticate",
        version=f"{NAME} {__version__}",
        promises=PROMISES,
        measured={
            VALIDATE: f"`await AsyncSessionStore.{'get' if whole else 'authenticate'}(token)`",
            CREATE: "`await AsyncSessionStore.create`, one task",
            CREATE_TOGETHER: "128 tasks, each `await AsyncSessionStore.create`",
            LIST: "`async for` over `AsyncSessionStore.sessions(principal=…)`, all ten",
            REVOKE: "`await AsyncSessionStore.revoke_all(principal)`, ten sessions",
        },
        tokens=tokens,
        validate=store.get if whole else store.authenticate,
        whose=_whose,
        create=create,
        listing=listing,
        revoke=store.revoke_all,
        end=store.expire,
        loop=loop,
        only=(VALIDATE, CREATE, CREATE_TOGETHER, LIST, REVOKE) if whole else (VALIDATE,),
    )
