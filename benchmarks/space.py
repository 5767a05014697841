"""What a touch and a session take in each log, in bytes: python -m benchmarks.space.

Sizes do not depend on the machine. PostgreSQL is vacuumed in full before it is measured.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import apsw
import psycopg

from benchmarks.bounded_month import DAY, INTERVAL, Month
from benchmarks.peers.servers import STARTERS, Missing
from sessionledger import LogUnavailable, SessionStore, StoredEvent, open_log
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.clock import Clock

YEAR = timedelta(days=365)
SESSIONS = 200
MANY = 2000
TOUCHES = SESSIONS * (DAY // INTERVAL)

Sizes = Counter[str]
Measure = Callable[[], Sizes]


@contextmanager
def _sqlite(folder: Path) -> Iterator[tuple[str, Measure]]:
    path = folder / "ledger.db"

    def measure() -> Sizes:
        connection = apsw.Connection(str(path))
        found = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY 1"))
        connection.close()
        return Sizes(found)

    yield f"sqlite:///{path}", measure


@contextmanager
def _file(folder: Path) -> Iterator[tuple[str, Measure]]:
    root = folder / "ledger"

    def measure() -> Sizes:
        files = [path for path in root.rglob("*") if path.is_file()]
        return Sizes({str(path.relative_to(root)): path.stat().st_size for path in files})

    yield f"file://{root}", measure


@contextmanager
def _postgresql(folder: Path) -> Iterator[tuple[str, Measure]]:
    with STARTERS["postgres"](folder, Path(sys.prefix)) as server:
        url = str(server["postgres_uri"])

        def measure() -> Sizes:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM FULL")
                found = connection.execute(
                    """SELECT relname, pg_table_size(oid) FROM pg_class
                    WHERE relnamespace = 'sessionledger'::regnamespace AND relkind IN ('r', 'i')"""
                )
                return Sizes(dict(found.fetchall()))

        yield url, measure


LOGS = {"sqlite": _sqlite, "file": _file, "postgresql": _postgresql}


def _touches(url: str, measure: Measure) -> dict[str, float]:
    """What each part grew by with a touch, and what an event consists of."""
    month = Month(url, SESSIONS)
    with month.opened() as (log, store):
        month.pass_day(log, store)
    before = measure()
    with month.opened() as (log, _):
        month.use(log)
        (newest,) = log.read(SESSIONS_TOPIC, log.latest(SESSIONS_TOPIC) - 1, 1)
    after = measure()
    grown = {name: (size - before[name]) / TOUCHES for name, size in after.items()}
    return {name: size for name, size in grown.items() if size > 1} | _parts(newest)


def _parts(event: StoredEvent) -> dict[str, float]:
    chain = [len(name) + len(value) + 6 for name, value in event.headers.items()]
    return {"its payload": len(event.payload), "its headers, all of the chain": sum(chain) + 1}


def _sessions(url: str, measure: Measure) -> dict[str, float]:
    """What a session takes: with its events, after a compaction, and once it ended."""
    clock, tokens = Clock(), list[str]()

    @contextmanager
    def opened() -> Iterator[SessionStore]:
        log = open_log(url, durability="normal")
        with SessionStore(log, clock=clock) as store:
            yield store
        log.close()

    def compact() -> bool:
        clock.advance(8 * DAY)
        with opened() as store, suppress(LogUnavailable):
            store.create("somebody")
            return store.compact(retention=timedelta(days=7)).sealed
        return False

    def create(supplied: str | None) -> None:
        for number in range(MANY):
            token = supplied and f"{supplied}, {number}"
            tokens.append(store.create(f"user-{number // 10}", token=token, ttl=YEAR).token)

    taken = {}
    for name, supplied in (("generated", None), ("supplied", "a supplied token that is long")):
        with opened() as store:
            empty = measure().total()
            tokens.clear()
            create(supplied)
        taken[f"{name}, live, with its event"] = measure().total() - empty
        if compact():
            taken[f"{name}, live, after a compaction"] = measure().total() - empty
            with opened() as store:
                for token in tokens:
                    store.expire(token)
            compact()
            taken[f"{name}, ended, after a compaction"] = measure().total() - empty
    return {name: size / MANY for name, size in taken.items()}


def main() -> None:
    for name, place in LOGS.items():
        for title, of in (("a touch", _touches), ("a session", _sessions)):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder).chmod(0o711)
                try:
                    with place(Path(folder)) as (url, measure):
                        parts = of(url, measure)
                except Missing as missing:
                    print(f"{name}: not run: {missing}")
                    continue
            print(f"\n{name}, {title}")
            for part, size in parts.items():
                print(f"  {part:44}{size:8.1f}")


if __name__ == "__main__":
    main()
