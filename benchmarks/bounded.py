"""A month with a compaction each day: what stays as it is, and what a compaction costs others.

The retention is 7 days, so the ledger holds a week of events from day 8 on.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import psycopg

from benchmarks.bounded_client import measured
from benchmarks.bounded_month import Month
from benchmarks.peers.servers import STARTERS, Missing
from benchmarks.rounds import Figure, Goal, Limit, Timing, measure
from sessionledger import SessionStore

RETENTION = timedelta(days=7)
FULL, DAYS = 8, 30
"""The first day whose compaction removes events, and the last one."""
BESIDE = 4
"""Compactions after that beside clients: two beside writers, two beside a reader."""
SESSIONS = {"sqlite": 1000, "postgresql": 100, "memory": 100, "file": 1000}
DAYS_EACH = {"sqlite": 1, "file": 1, "postgresql": 2}
"""Days that each of them removes: enough events for the tail to show."""
WRITERS = 2

OPENING, OPENING_FULL = f"opening, day {DAYS}", f"opening, day {FULL}"
GOALS = (Goal(OPENING, OPENING_FULL, 1.2),)
REST, BESIDE_ONE = "at rest", "beside a compaction"
SIZE, TAIL, GET = f"size, day {DAYS} : day {FULL}", "p99.9 of writes", "get"
RATIO = f"{{}}, {BESIDE_ONE} : {REST}"
LIMITS = (Limit(SIZE, 1.2), Limit(RATIO.format(TAIL), 3), Limit(RATIO.format(GET), 1.5))


class Place(Protocol):
    """Where a ledger is kept."""

    url: str

    def size(self) -> int:
        """Bytes, of a ledger that nobody has open."""
        ...

    def copied(self, name: str) -> str:
        """The address of a copy of the ledger as it is now."""
        ...

    def tidy(self) -> None:
        """What its server does by itself once a day."""
        ...


class Files:
    """A file, or a folder of files."""

    def __init__(self, scheme: str, folder: Path) -> None:
        self._scheme, self._folder = scheme, folder / "ledger"
        self._folder.mkdir()
        self.url = self._url(self._folder)

    def _url(self, folder: Path) -> str:
        return f"{self._scheme}{folder / 'at'}"

    def size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def copied(self, name: str) -> str:
        return self._url(Path(shutil.copytree(self._folder, self._folder.with_name(name))))

    def tidy(self) -> None: ...


class Server:
    """A database in PostgreSQL. Autovacuum, which comes every minute, would miss simulated days."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.url = self._made("ledger", "template1")

    def _made(self, name: str, template: str) -> str:
        self._execute(self._url, f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url.replace("/postgres?", f"/{name}?")

    def size(self) -> int:
        return int(self._execute(self.url, "SELECT pg_database_size(current_database())"))

    def copied(self, name: str) -> str:
        return self._made(name, "ledger")

    def tidy(self) -> None:
        self._execute(self.url, "VACUUM ANALYZE")

    def _execute(self, url: str, statement: str) -> str:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return str(cursor.fetchone()[0]) if cursor.description else ""  # type: ignore[index]


class Removed:
    """How many events compactions removed, and how long that took."""

    def __init__(self) -> None:
        self.events, self.seconds, self.last = 0, 0.0, 0.0

    def compact(self, store: SessionStore) -> None:
        start = time.perf_counter()
        removed = store.compact(retention=RETENTION).events
        self.last = time.perf_counter() - start
        if removed:
            self.events, self.seconds = self.events + removed, self.seconds + self.last

    @property
    def rate(self) -> Figure:
        return Figure("events removed", self.events / max(self.seconds, 1e-9), "a second")


def bounded(
    folder: Path, backend: str, rounds: int
) -> tuple[dict[str, Timing], list[Figure], tuple[Limit, ...]] | None:
    """What was measured, and the limits that it has; None where it can't be."""
    if backend == "memory":
        return _in_memory()
    try:
        with _place(folder, backend) as place:
            return _kept(place, backend, rounds)
    except Missing as missing:
        print(f"\n{backend}: not run: {missing}")
        return None


def _in_memory() -> tuple[dict[str, Timing], list[Figure], tuple[Limit, ...]]:
    """Its size is the number of its events: it has no file, and no other process."""
    month, removed, events = Month("memory:", SESSIONS["memory"]), Removed(), []
    with month.opened() as (log, store):
        for _ in range(DAYS):
            month.pass_day(log, store)
            removed.compact(store)
            events.append(store.stats().events)
    figures = [
        Figure(f"events, day {FULL}", events[FULL - 1], ""),
        Figure(f"events, day {DAYS}", events[-1], ""),
        Figure(SIZE, events[-1] / events[FULL - 1], "×"),
        removed.rate,
    ]
    return {}, figures, LIMITS[:1]


@contextmanager
def _place(folder: Path, backend: str) -> Iterator[Place]:
    if backend != "postgresql":
        yield Files("sqlite:///" if backend == "sqlite" else "file://", folder)
        return
    at = folder / "server"
    at.mkdir()
    with STARTERS["postgres"](at, Path(sys.prefix)) as server:
        yield Server(str(server["postgres_uri"]))


def _kept(
    place: Place, backend: str, rounds: int
) -> tuple[dict[str, Timing], list[Figure], tuple[Limit, ...]]:
    month, removed = Month(place.url, SESSIONS[backend]), Removed()
    with month.opened() as (log, _):
        if log.compactable() is None:
            raise Missing("it can't be compacted yet")
    _pass(month, place, FULL, removed)
    full, first = place.size(), (place.copied("first"), month.tokens[0], month.now)
    _pass(month, place, DAYS - FULL, removed)
    size, last = place.size(), (place.copied("last"), month.tokens[0], month.now)
    openings = {OPENING: partial(_open, last), OPENING_FULL: partial(_open, first)}
    timings = measure(openings, min(rounds, 3) if backend == "file" else rounds)
    figures = [
        Figure(f"size, day {FULL}", full / 1e6, "MB"),
        Figure(f"size, day {DAYS}", size / 1e6, "MB"),
        Figure(SIZE, size / full, "×"),
        removed.rate,
        *_beside(month, DAYS_EACH[backend]),
    ]
    return timings, figures, LIMITS


def _pass(month: Month, place: Place, days: int, removed: Removed) -> None:
    with month.opened() as (log, store):
        for _ in range(days):
            month.pass_day(log, store)
            removed.compact(store)
            place.tidy()


def _open(copy: tuple[str, str, datetime]) -> int:
    """Open a copy and read a session, at the time of the copy."""
    url, token, now = copy
    with SessionStore.open(url) as store:
        assert store.get(token, now=now) is not None
    return 1


def _beside(month: Month, days: int) -> list[Figure]:
    """What others wait while days are removed that nobody has compacted."""
    writes, reads = Compared(), Compared()
    for number in range(BESIDE):
        with month.opened() as (log, store):
            for _ in range(days):
                month.pass_day(log, store)
        if number % 2 == 0:
            writes.compare(month, "write", [month.tokens[n::WRITERS] for n in range(WRITERS)])
        else:
            reads.compare(month, "read", [month.tokens])
    return [*writes.figures(TAIL, _tail), *reads.figures(GET, statistics.mean)]


def _tail(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.999)]


class Compared:
    """What clients measured at rest, and beside a compaction that took as long."""

    def __init__(self) -> None:
        self._rest: list[float] = []
        self._beside: list[float] = []

    def compare(self, month: Month, role: str, shares: Sequence[Sequence[str]]) -> None:
        """Compact, beside clients in other processes; and let them be alone for as long."""
        removed = Removed()
        with month.opened() as (_, store):
            compact = partial(removed.compact, store)
            self._beside += measured(role, month.url, month.now, shares, compact)
            assert removed.events
            rest = partial(time.sleep, removed.last)
            self._rest += measured(role, month.url, month.now, shares, rest)

    def figures(self, name: str, of: Callable[[Sequence[float]], float]) -> list[Figure]:
        """Both in microseconds, their ratio, and the longest of each."""
        found = []
        for where, times in ((REST, self._rest), (BESIDE_ONE, self._beside)):
            found += [
                Figure(f"{name}, {where}", of(times), "µs"),
                Figure(f"{name}: the longest of {len(times):,} {where}", max(times), "µs"),
            ]
        ratio = of(self._beside) / of(self._rest)
        return [*found, Figure(RATIO.format(name), ratio, "×")]
