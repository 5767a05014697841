"""Ten million sessions: what each call costs there, beside what it costs with a hundred thousand.

Not part of a plain `make bench`, since filling takes a quarter of an hour and twenty gigabytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.administering import read
from benchmarks.bare import BareTable
from benchmarks.creating import create_alone
from benchmarks.filling import EACH, child, principal, token
from benchmarks.rounds import Figure, Goal, Timing, measure
from benchmarks.sweeping import lapse
from sessionledger import SessionStore

FEW = 100_000
OPENINGS = 10
LISTINGS = 200
SWEPT = 500

BARE, GET = "bare SELECT", "SessionStore.get"
CALLS = ("opening to the first answer", "create, one at a time", "list a principal's 10", "sweep")

GOALS = (
    Goal(GET, BARE, 1.25),
    *(Goal(call, f"{call}, with {FEW:,}", 1.5) for call in CALLS),
)


def growing(folder: Path, count: int, rounds: int) -> tuple[dict[str, Timing], list[Figure]]:
    """Microseconds per call at both sizes; of a sweep, per session."""
    many, few, bare = folder / "many.db", folder / "few.db", folder / "bare.db"
    with ThreadPoolExecutor() as pool:
        places = ((f"sqlite:///{many}", count), (bare, count), (f"sqlite:///{few}", FEW))
        list(pool.map(lambda place: child("benchmarks.bulk_filling", *place), places))
    table = BareTable(bare)
    with _opened(many, rounds) as store, _opened(few, rounds) as small:
        # The reads first, and alone: writes in between would take the pages of one of them away.
        reads: dict[str, Callable[[], int]] = {
            BARE: lambda: read(table.get, range(count)),
            GET: lambda: read(store.get, range(count)),
        }
        calls = _calls(store, many, count, "") | _calls(small, few, FEW, f", with {FEW:,}")
        timings = measure(reads, rounds) | measure(calls, rounds)
    return timings, [
        Figure("file size", many.stat().st_size / count, "bytes a session"),
        Figure("bare file size", bare.stat().st_size / count, "bytes a session"),
    ]


def _opened(path: Path, rounds: int) -> SessionStore:
    url = f"sqlite:///{path}"
    lapse(url, SWEPT * (rounds + 1))
    return SessionStore.open(url)


def _calls(store: SessionStore, path: Path, count: int, where: str) -> dict[str, Callable[[], int]]:
    calls = (
        partial(_open, path, count),
        partial(create_alone, store),
        partial(_list, store, count),
        partial(_sweep, store),
    )
    return {name + where: call for name, call in zip(CALLS, calls, strict=True)}


def _open(path: Path, count: int) -> int:
    for _ in range(OPENINGS):
        with SessionStore.open(f"sqlite:///{path}") as store:
            assert store.get(token(random.randrange(count))) is not None
    return OPENINGS


def _list(store: SessionStore, count: int) -> int:
    for _ in range(LISTINGS):
        assert len(list(store.sessions(principal=principal(random.randrange(count))))) >= EACH
    return LISTINGS


def _sweep(store: SessionStore) -> int:
    assert store.sweep(limit=SWEPT) == SWEPT
    return SWEPT
