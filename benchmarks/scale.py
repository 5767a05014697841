"""A million sessions in SQLite: what stays as it was with few, and what walks all of them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.administering import REVOCATIONS as WRITES
from benchmarks.administering import insert, read
from benchmarks.bare import BareTable
from benchmarks.filling import EACH, child, principal
from benchmarks.rounds import Figure, Goal, Limit, Timing, measure
from sessionledger import SessionStore

LISTINGS = 200
OPENINGS = 5

GOALS = (
    Goal("SessionStore.get", "bare SELECT", 1.25),
    Goal("revoke_everybody", "bare fsync'd insert", 3.0),
)

OPENING = "opening to the first answer"
MEMORY = "private memory after 100,000 reads"
PAGE = "one page of a principal's sessions"
LIMITS = (Limit(OPENING, 50), Limit(MEMORY, 60), Limit(PAGE, 0.5))


class Reader(msgspec.Struct, frozen=True):
    """What a process that only reads tells of itself: milliseconds, and MB of private memory; those
    of mapped files that no other process has mapped are told apart."""

    importing: float
    opening: float
    memory_before: float
    memory: float
    mapped: float


def scaling(folder: Path, count: int, rounds: int) -> tuple[dict[str, Timing], list[Figure]]:
    """The reads that must not grow with the number of sessions, and the rates of what does."""
    path, bare = folder / "scale.db", folder / "bare.db"
    url = f"sqlite:///{path}"
    start = time.perf_counter()
    child("benchmarks.scale_filling", url, count, bare)
    filling = count / (time.perf_counter() - start)
    # The processes run one after the other, on a file whose pages the system has at hand.
    readers = [read_apart(url, count, reads=1) for _ in range(OPENINGS)]
    reading = read_apart(url, count, reads=100_000)
    with SessionStore.open(url) as store:
        table = BareTable(bare)
        contenders: dict[str, Callable[[], int]] = {
            "bare SELECT": lambda: read(table.get, range(count)),
            "SessionStore.get": lambda: read(store.get, range(count)),
            PAGE: lambda: _list(store, count),
        }
        timings = measure(contenders, rounds)
    figures = [
        Figure(OPENING, statistics.median(one.opening for one in readers), "ms"),
        Figure("importing, before that", statistics.median(one.importing for one in readers), "ms"),
        Figure(MEMORY, reading.memory, "MB"),
        Figure("pages of the mapped file beside it", reading.mapped, "MB"),
        Figure("private memory before the first read", reading.memory_before, "MB"),
        Figure(PAGE, timings[PAGE].median / 1000, "ms"),
        Figure("file size", path.stat().st_size / count, "bytes a session"),
        Figure("bare file size", bare.stat().st_size / count, "bytes a session"),
        Figure("filling, both tables", filling, "sessions a second"),
        *_walking(url, count),
    ]
    return timings | _ending(url, table, rounds), figures


def _ending(url: str, table: BareTable, rounds: int) -> dict[str, Timing]:
    """Ends them all, again and again: a mark never asks how many there are, or what is over."""
    with SessionStore.open(url) as store:
        contenders: dict[str, Callable[[], int]] = {
            "bare fsync'd insert": lambda: insert(table),
            "revoke_everybody": lambda: _revoke_everybody(store),
        }
        timings = measure(contenders, rounds)
        assert store.count() == 0
    return timings


def _revoke_everybody(store: SessionStore) -> int:
    for _ in range(WRITES):
        store.revoke_everybody()
    return WRITES


def _walking(url: str, count: int) -> list[Figure]:
    with SessionStore.open(url) as store:
        start = time.perf_counter()
        assert store.verify().events == count
        verified = time.perf_counter()
        assert store.rebuild() == count
        rebuilt = time.perf_counter()
    return [
        Figure("verify", count / (verified - start), "events a second"),
        Figure("rebuild", count / (rebuilt - verified), "events a second"),
    ]


def read_apart(url: str, count: int, reads: int) -> Reader:
    """What a process of its own tells that opens the ledger and reads."""
    return msgspec.json.decode(child("benchmarks.scale_reader", url, count, reads), type=Reader)


def _list(store: SessionStore, count: int) -> int:
    for _ in range(LISTINGS):
        page = next(store.sessions(principal=principal(random.randrange(count))).pages())
        assert len(page.sessions) == EACH
    return LISTINGS
