"""Pages of a ledger with many sessions, half of them ended: as the console asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.filling import EACH, child, principal
from benchmarks.peers.servers import STARTERS, Missing
from benchmarks.rounds import Figure, Limit
from sessionledger import Page, SessionStore
from sessionledger.store.sync.store import Sessions

PAGE = 50
TIMES = 21
DEEP = 20
"""So many pages in, a cursor is."""
MOST_MS = 100
_WEEK = timedelta(days=7)


def listing(folder: Path, sessions: int) -> tuple[list[Figure], list[Limit]]:
    """Milliseconds of a page of each filter that an index answers, and of others, by log."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        urls = {"SQLite": f"sqlite:///{folder / 'listing.db'}"}
        try:
            at = folder / "postgres"
            at.mkdir()
            folder.chmod(0o711)
            place = stack.enter_context(STARTERS["postgres"](at, Path(sys.prefix)))
            urls["PostgreSQL"] = str(place["postgres_uri"])
        except Missing as missing:
            print(f"  not run: {missing}")
        for name, url in urls.items():
            child("benchmarks.bulk_filling", url, sessions)
            with SessionStore.open(url, durability="normal") as store:
                _end_half(store, sessions)
                figures += _measured(name, store, sessions)
    indexed = [one for one in figures if "by a look" not in one.name and "counts" not in one.name]
    return figures, [Limit(one.name, MOST_MS) for one in indexed]


def _end_half(store: SessionStore, sessions: int) -> None:
    for number in range(0, sessions, 2 * EACH):
        store.revoke_all(principal(number))


def _measured(name: str, store: SessionStore, sessions: int) -> Iterator[Figure]:
    now = datetime.now(UTC)
    of_one = {"principal": principal(sessions - 1 - EACH)}
    asked: dict[str, dict[str, Any]] = {
        "everybody's, live": {},
        "everybody's, ended": {"state": "ended"},
        "everybody's, all": {"state": "all"},
        "a principal's, all": of_one | {"state": "all"},
        "begun in the last week": {"begun_after": now - _WEEK},
        "an address, by a look at 10,000": {"address": "192.0.2.1"},
    }
    for what, which in asked.items():
        listed = store.sessions(**which, newest_first=True, page_size=PAGE)
        yield Figure(f"{name}: {what}", _milliseconds(partial(_first, listed)), "ms")
    for state in ("live", "ended", "all"):
        pages = store.sessions(state=state, newest_first=True, page_size=PAGE).pages()
        cursor = [next(pages).cursor for _ in range(DEEP)][-1]
        deep = store.sessions(state=state, newest_first=True, page_size=PAGE, after=cursor)
        yield Figure(
            f"{name}: everybody's, {state}, page {DEEP + 1}",
            _milliseconds(partial(_first, deep)),
            "ms",
        )
    begun = perf_counter()
    counts = store.counts()
    assert counts.live + counts.ended == sessions, counts
    yield Figure(f"{name}: counts, once a minute", (perf_counter() - begun) * 1000, "ms")


def _first(listed: Sessions) -> Page:
    return next(listed.pages())


def _milliseconds(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(TIMES):
        begun = perf_counter()
        ask()
        times.append(perf_counter() - begun)
    return median(times) * 1000
