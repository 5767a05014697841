"""One shape for both stores: calls on the asynchronous one run on a loop until they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack
from inspect import isasyncgen, iscoroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote

import pytest

from sessionledger import (
    AsyncSessionStore,
    HistoryEntry,
    HistoryPage,
    Log,
    Page,
    Policy,
    Session,
    SessionStore,
    open_log,
)
from sessionledger.store.aio.by_handle import AsyncHistory, AsyncSessions
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.clock import Clock
from tests import postgres_server

T = TypeVar("T")


URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda _: "memory:",
    "sqlite": lambda place: f"sqlite:///{quote(str(place))}",
    "file": lambda place: f"file://{quote(str(place))}",
    "postgresql": postgres_server.address,
}


PERSISTENT = [backend for backend in URLS if backend != "memory"]
EMBEDDED = [backend for backend in URLS if backend != "postgresql"]


class Kind(NamedTuple):
    """A store's colour and its log's backend."""

    colour: str
    backend: str

    def __str__(self) -> str:
        return "-".join(self)

    @property
    def answers_in_place(self) -> bool:
        """Whether reads are answered without a loop's having to wait."""
        return self.colour == "sync" or self.backend in EMBEDDED


KINDS = [Kind(colour, log) for colour in ("sync", "async") for log in URLS]
# A server is dear to ask: what is the store's own doing, whatever its log, is tried on it where
# there is time. What a log has to do is tried each time, by the suite that all logs pass.
EACH = [
    pytest.param(kind, id=str(kind), marks=[pytest.mark.slow] * (kind.backend not in EMBEDDED))
    for kind in KINDS
]

# What is tried with many examples needs not all of them each time: every log, and both colours.
_SPARED = (("async", "sqlite"), ("async", "file"), ("sync", "postgresql"), ("async", "postgresql"))
TRIED = [
    pytest.param(kind, id=str(kind), marks=[pytest.mark.slow] if kind in _SPARED else [])
    for kind in KINDS
]


class Blocking:
    """An asynchronous store that answers as the synchronous one does."""

    def __init__(self, store: AsyncSessionStore, runner: asyncio.Runner) -> None:
        self._store = store
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)
        return lambda *given, **named: self._settle(method(*given, **named))

    def __enter__(self) -> Blocking:
        self._runner.run(self._store.__aenter__())
        return self

    def __exit__(self, *raised: Any) -> None:
        self._runner.run(self._store.__aexit__(*raised))

    def _settle(self, answer: Any) -> Any:
        if iscoroutine(answer):
            return self._runner.run(answer)
        if isasyncgen(answer):
            return drain(self._runner, answer)
        if isinstance(answer, AsyncSessions | AsyncHistory):
            return BlockingPages(answer, self._runner)
        return answer


class BlockingPages:
    """An asynchronous listing or history that is iterated as the synchronous one is."""

    def __init__(self, listing: AsyncSessions | AsyncHistory, runner: asyncio.Runner) -> None:
        self._listing = listing
        self._runner = runner

    def pages(self) -> Iterator[Page | HistoryPage]:
        return drain(self._runner, self._listing.pages())

    def __iter__(self) -> Iterator[Session | HistoryEntry]:
        return drain(self._runner, aiter(self._listing))


def drain(runner: asyncio.Runner, items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous iterator, one turn of the loop for each."""
    end = object()

    async def step() -> T | object:
        return await anext(items, end)

    try:
        while (item := runner.run(step())) is not end:
            yield cast(T, item)
    finally:
        runner.run(cast(Coroutine[Any, Any, None], cast(Any, items).aclose()))


class Bench:
    """Opens stores of one kind on one ledger at one clock, and closes what it opened."""

    def __init__(self, kind: Kind, place: Path, *, durability: str = "full") -> None:
        self.kind = kind
        self.durability = durability
        self.clock = Clock()
        self.persists = kind.backend in PERSISTENT
        self.url = URLS[kind.backend](place)
        self._opened = ExitStack()
        self._runner: asyncio.Runner | None = None
        if kind.colour == "async":
            self._runner = self._opened.enter_context(asyncio.Runner())

    def log(self) -> Log:
        """A log of the ledger; in memory each one is another ledger."""
        log = open_log(self.url, durability=self.durability)
        self._opened.callback(log.close)
        return log

    def on(
        self, log: Log, *, policy: Policy | None = None, topic: str = SESSIONS_TOPIC, **more: Any
    ) -> SessionStore:
        """A store on a log that stays open when the store is closed."""
        more = {"policy": policy, "clock": self.clock, "topic": topic} | more
        if self._runner is None:
            store = SessionStore(log, **more)
        else:
            store = self._blocking(AsyncSessionStore(log, **more))
        self._opened.callback(store.close)
        return store

    def unentered(
        self, *, policy: Policy | None = None, topic: str = SESSIONS_TOPIC
    ) -> SessionStore:
        """A store with a log of its own, which the asynchronous one has yet to open."""
        if self._runner is None:
            store = SessionStore.open(self.url, policy=policy, clock=self.clock, topic=topic)
        else:
            bare = AsyncSessionStore.open(self.url, policy=policy, clock=self.clock, topic=topic)
            store = self._blocking(bare)
        self._opened.callback(store.close)
        return store

    def open(self, *, policy: Policy | None = None, topic: str = SESSIONS_TOPIC) -> SessionStore:
        """A store with a log of its own, ready for use."""
        return self.unentered(policy=policy, topic=topic).__enter__()

    def close(self) -> None:
        self._opened.close()

    def _blocking(self, store: AsyncSessionStore) -> SessionStore:
        assert self._runner is not None
        return cast(SessionStore, Blocking(store, self._runner))
