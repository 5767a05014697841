"""What a peer is to the comparison: what it promises, and up to four things that it can do.

Sessions are numbered; ten belong to each principal. Those of the first half of the principals are
there to be revoked, those of the second half to be validated and listed; sessions that are created
while time is taken belong to principals of their own, so that listings stay as long as they are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

EACH = 10
TOGETHER = 128
TTL = 7 * 24 * 3600

VALIDATE, LIST, REVOKE = "validate", "list", "revoke"
CREATE, CREATE_TOGETHER, CREATE_BATCH = "create", "create-128", "create-batch"


class Promises(msgspec.Struct, frozen=True):
    """What a row's figures buy: "yes", "no", or the condition."""

    durable: str
    revocable: str
    listable: str
    linearizable: str


SIGNED = Promises("nothing is stored", "no, until it expires", "no", "nothing is stored")


class Place(msgspec.Struct, frozen=True):
    """Where a peer runs: a folder of its own, the servers, and how many sessions it holds."""

    folder: str
    sessions: int
    redis_port: int = 0
    postgres_uri: str = ""
    nats_port: int = 0

    @property
    def principals(self) -> list[str]:
        """Those that have sessions, in order."""
        return [principal(number) for number in range(0, self.sessions, EACH)]

    @property
    def newcomers(self) -> list[str]:
        """As many that have none yet."""
        return [principal(number) for number in range(self.sessions, 2 * self.sessions, EACH)]


def principal(number: int) -> str:
    """Whose session that is."""
    return f"user-{number // EACH}"


def claims(owner: str, number: int = 0) -> dict[str, Any]:
    """What every session carries, in each peer's own encoding."""
    return {"sub": owner, "role": "operator", "number": number, "exp": int(time.time()) + TTL}


def new_token() -> str:
    return token_urlsafe(32)


def fill(place: Place, create: Callable[[str, int], str]) -> list[str]:
    """The tokens of all sessions that a place starts with, by number."""
    return [create(principal(number), number) for number in range(place.sessions)]


class Loop:
    """An event loop that stays between two runs; uvloop's, which favours those with sockets."""

    def __init__(self) -> None:
        import uvloop

        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def fill(self, place: Place, create: Callable[[str, int], Awaitable[str]]) -> list[str]:
        """The same where creating is awaited."""

        async def filled() -> list[str]:
            return [await create(principal(number), number) for number in range(place.sessions)]

        return self.run(filled())

    def close(self) -> None:
        self._runner.close()


class Together:
    """Calls that are made in one turn of the loop, carried out as one batch.

    What a client with automatic pipelining does: each caller waits for an answer of its own, and
    those who come while a batch is under way make up the next.
    """

    def __init__(self, carry_out: Callable[[list[Any]], Awaitable[None]]) -> None:
        self._carry_out = carry_out
        self._waiting: list[tuple[asyncio.Future[None], Any]] = []
        self._running: asyncio.Task[None] | None = None

    async def call(self, one: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((future, one))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._carry_out([one for _, one in batch])
            except Exception as error:
                for future, _ in batch:
                    future.set_exception(error)
            else:
                for future, _ in batch:
                    future.set_result(None)
                await asyncio.sleep(0)  # let those who were answered call again
        self._running = None


@dataclass(frozen=True)
class Peer:
    """One row. Where there is a loop, the calls answer awaitables.

    validate: the session of a token, falsy or one of `refusals` where there is none; `whose` names
    its principal. create: makes a session durable and answers its token. create_batch: the same
    for a batch in one go. listing: a principal's sessions. revoke: ends them all.
    end: ends the session of one token. measured: what each task does, in words. only: the tasks
    that count, where not all of them do.
    """

    name: str
    version: str
    promises: Promises
    measured: dict[str, str]
    tokens: Sequence[str] = ()
    validate: Callable[[str], Any] | None = None
    whose: Callable[[Any], str] | None = None
    create: Callable[[str], Any] | None = None
    create_batch: Callable[[Sequence[str]], Any] | None = None
    listing: Callable[[str], Any] | None = None
    revoke: Callable[[str], Any] | None = None
    end: Callable[[str], Any] | None = None
    refusals: tuple[type[Exception], ...] = ()
    loop: Loop | None = None
    only: Sequence[str] | None = None
