"""The logs and stores that recordings are replayed on. A new log is one line in `BACKENDS`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from sessionledger import AsyncSessionStore, SessionStore

AnyStore: TypeAlias = SessionStore | AsyncSessionStore
Settle: TypeAlias = Callable[[Any], Any]
"""Turns what a store's method answers into its result: at once, or by running a coroutine."""


class Backend(NamedTuple):
    """A kind of log: the address of the one at a place, and whether it outlives its closing."""

    url: Callable[[Path], str]
    persists: bool = True


class Colour(NamedTuple):
    """A store class, and how its answers settle."""

    store: Callable[..., AnyStore]
    settling: Callable[[], AbstractContextManager[Settle]]


def _at(beginning: str) -> Callable[[Path], str]:
    return lambda place: f"{beginning}{quote(str(place))}"


@contextmanager
def _at_once() -> Iterator[Settle]:
    yield lambda answer: answer


@contextmanager
def _in_a_loop() -> Iterator[Settle]:
    with asyncio.Runner() as runner:
        yield runner.run


BACKENDS: Mapping[str, Backend] = {
    "memory": Backend(lambda _: "memory:", persists=False),
    "sqlite": Backend(_at("sqlite:///")),
    "file": Backend(_at("file://")),
}

COLOURS: Mapping[str, Colour] = {
    "SessionStore": Colour(SessionStore, _at_once),
    "AsyncSessionStore": Colour(AsyncSessionStore, _in_a_loop),
}
