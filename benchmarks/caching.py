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
from benchmarks.rounds import Figure, Goal, Limit, Timing, measure, ratio
from sessionledger import AsyncSessionStore, Session, SessionStore
from sessionledger.logs.sqlite import SQLiteLog

ACTIVE = 10_000
"""How many sessions are read over and over, of all that there are."""
READS = 2000
CHANGES_A_ROUND = 50

DICTIONARY = "dict[sha256(token)]"
GET = "SessionStore.get, unchanged"
ASYNC_GET = "AsyncSessionStore.get, unchanged"
ONE_SELECT = "one SELECT, unchanged"

GOALS = (Goal(GET, DICTIONARY, 2.5), Goal(ASYNC_GET, DICTIONARY, 2.5))

AFTER = ("1st get after a change", "2nd", "3rd", "2nd, of what was changed")
BEYOND = ", beyond one SELECT"
LIMITS = tuple(Limit(name + BEYOND, 15) for name in AFTER)

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
        refused = Figure(f"{ONE_SELECT} : {GET}", ratio(timings, ONE_SELECT, GET), "×")
        figures = [refused, *_changed(store, one, change, active, rounds)]
    return timings, figures


@contextmanager
def asking(path: Path) -> Iterator[SessionStore]:
    """A store on the same ledger that asks SQLite at every read."""
    log = SQLiteLog(path)
    log._row_cache._header.refuse()
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
            DICTIONARY: lambda: read(dictionary.get, tokens),
            GET: lambda: read(store.get, tokens),
            ASYNC_GET: lambda: runner.run(read_async(async_store, tokens)),
            ONE_SELECT: lambda: read(one.get, tokens),
        }
        timings = measure(contenders, rounds)
        runner.run(async_store.close())
    return timings


def read(get: Get, tokens: list[str]) -> int:
    """Read some of the sessions, which are all live; how many."""
    for secret in random.choices(tokens, k=READS):
        session = get(secret)
        assert session is not None
        assert session.attributes["role"] == "operator"
    return READS


async def read_async(store: AsyncSessionStore, tokens: list[str]) -> int:
    """As `read`, in an event loop."""
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
    """The medians of reads that come after a change by the other process.

    In processor time of this thread, which waits for the other process in between.
    """
    taken: dict[SessionStore, dict[str, list[float]]] = {
        contender: {name: [] for name in AFTER} for contender in (store, one)
    }
    for _ in range(rounds * CHANGES_A_ROUND):
        for contender, times in taken.items():
            changed, *others = random.sample(active, 4)
            change(changed)
            for name, number in zip(AFTER[:3], others, strict=True):
                times[name].append(_microseconds(contender.get, token(number)))
            change(changed)
            contender.get(token(others[0]))
            times[AFTER[3]].append(_microseconds(contender.get, token(changed)))
    figures = []
    for name in AFTER:
        cached, asked = (statistics.median(times[name]) for times in taken.values())
        figures += [
            Figure(f"{name}, by one SELECT", asked, "us"),
            Figure(name, cached, "us"),
            Figure(name + BEYOND, cached - asked, "us"),
        ]
    return figures


def _microseconds(get: Get, secret: str) -> float:
    start = time.thread_time()
    get(secret)
    return (time.thread_time() - start) * 1e6
