"""`get` of sessions that were read before, beside a dictionary; and after others changed something.

Another process has the ledger open and writes to it: now and then, or before every single read.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import msgspec

from benchmarks.bare import DOMAIN
from benchmarks.committing import another_process
from benchmarks.filling import fill, token
from benchmarks.rounds import Figure, Goal, Limit, Timing, measure
from sessionledger import AsyncSessionStore, Session, SessionStore
from sessionledger.logs.sqlite import SQLiteLog

ACTIVE = 10_000
"""How many sessions are read over and over, of all that there are."""
READS = 2000
READS_AFTER_A_CHANGE = 100

DICTIONARY = "dict[sha256(token)]"
GET = "SessionStore.get, unchanged"
ASYNC_GET = "AsyncSessionStore.get, unchanged"
ONE_SELECT = "one SELECT, unchanged"

GOALS = (Goal(GET, DICTIONARY, 2.5), Goal(ASYNC_GET, DICTIONARY, 2.5))

CHANGED = "get after a change, beyond one SELECT"
CHANGED_ITSELF = "get of what was changed, beyond one SELECT"
LIMITS = (Limit(CHANGED, 15), Limit(CHANGED_ITSELF, 15))

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode

Get: TypeAlias = Callable[[str], Session | None]


class Dictionary:
    """What one has who needs no other process, and keeps nothing."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}

    def fill(self, sessions: Sequence[tuple[str, Session]]) -> None:
        for secret, session in sessions:
            self._rows[sha256(DOMAIN + secret.encode()).digest()] = _encode(session)

    def get(self, secret: str) -> Session:
        return _decode(self._rows[sha256(DOMAIN + secret.encode()).digest()])


def caching(folder: Path, count: int, rounds: int) -> tuple[dict[str, Timing], list[Figure]]:
    """Microseconds of a read of an active session, of so many live ones."""
    path = folder / f"cached-{count}.db"
    url = f"sqlite:///{path}"
    dictionary = Dictionary()
    asyncio.run(fill(url, count, [dictionary.fill]))
    active = random.sample(range(count), min(ACTIVE, count))
    with another_process(url) as change, SessionStore.open(url) as store, asking(path) as one:
        change(0)
        timings = _unchanged(url, store, one, dictionary, active, rounds)
        figures = _changed(store, one, change, active, rounds)
    return timings, figures


@contextmanager
def asking(path: Path) -> Iterator[SessionStore]:
    """A store on the same ledger that asks SQLite at every read."""
    log = SQLiteLog(path)
    log._caches._pin.refuse()
    yield SessionStore(log)
    log.close()


def _unchanged(
    url: str,
    store: SessionStore,
    one: SessionStore,
    dictionary: Dictionary,
    active: list[int],
    rounds: int,
) -> dict[str, Timing]:
    tokens = [token(number) for number in active]
    with asyncio.Runner() as runner:
        async_store = runner.run(AsyncSessionStore.open(url).__aenter__())
        for secret in tokens:
            store.get(secret)
            runner.run(async_store.get(secret))
        contenders: dict[str, Callable[[], int]] = {
            DICTIONARY: lambda: _read(dictionary.get, tokens),
            GET: lambda: _read(store.get, tokens),
            ASYNC_GET: lambda: runner.run(_read_async(async_store, tokens)),
            ONE_SELECT: lambda: _read(one.get, tokens),
        }
        timings = measure(contenders, rounds)
        runner.run(async_store.close())
    return timings


def _read(get: Get, tokens: list[str]) -> int:
    for secret in random.choices(tokens, k=READS):
        session = get(secret)
        assert session is not None
        assert session.attributes["role"] == "operator"
    return READS


async def _read_async(store: AsyncSessionStore, tokens: list[str]) -> int:
    for secret in random.choices(tokens, k=READS):
        session = await store.get(secret)
        assert session is not None
        assert session.attributes["role"] == "operator"
    return READS


def _changed(
    store: SessionStore,
    one: SessionStore,
    change: Callable[[int], None],
    active: list[int],
    rounds: int,
) -> list[Figure]:
    """The medians of reads that each come after a change: of another session, and of the same.

    In processor time of this thread, which waits for the other process in between.
    """
    taken: dict[str, list[float]] = {name: [] for name in ("cached", "one", "itself", "one itself")}
    for _ in range(rounds * READS_AFTER_A_CHANGE):
        changed, other = random.sample(active, 2)
        for name, get, read in (
            ("cached", store.get, other),
            ("one", one.get, other),
            ("itself", store.get, changed),
            ("one itself", one.get, changed),
        ):
            change(changed)
            secret = token(read)
            start = time.thread_time()
            get(secret)
            taken[name].append((time.thread_time() - start) * 1e6)
    cached, ones, itself, one_itself = (statistics.median(times) for times in taken.values())
    return [
        Figure("get after a change, by one SELECT", ones, "us"),
        Figure("get after a change", cached, "us"),
        Figure(CHANGED, cached - ones, "us"),
        Figure("get of what was changed", itself, "us"),
        Figure(CHANGED_ITSELF, itself - one_itself, "us"),
    ]
