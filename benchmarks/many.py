"""A million sessions in PostgreSQL: how large the tables are, and what touches do to them.

A thousand principals have a thousand sessions each. A tenth of the sessions is in use, and each of
those is touched once a minute. The server vacuums by itself.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

import msgspec
import psycopg

from benchmarks.filling import token
from benchmarks.peers.servers import STARTERS
from benchmarks.rounds import Figure, Limit
from sessionledger import AsyncSessionStore, Policy, open_log
from sessionledger.core import decide
from sessionledger.core.instant import microseconds
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.base import Unit
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.session_fold import SessionFold
from sessionledger.store.steps import Step, prepare

PRINCIPALS = 1000
IN_USE = 10
"""One session in so many is touched."""
TASKS = 256
BATCH = 5000
IDLE = Policy(idle_timeout=timedelta(hours=8))
"""With it a touch moves the end of a session, which an index holds."""
FILLFACTORS = (100, 90, 80, 70, 50)
TABLES = ("ledger_rows", "events", "ledger_links")
PACE = 1700
"""So many touches a second are tried. What comes late then leaves as many as the goal asks for."""
RATE, GROWN = "touches", "rows and their indexes, last half : first half"
LIMITS = (Limit(RATE, 1667, at_least=True), Limit(GROWN, 1.02))

_ROWS = "sessionledger.ledger_rows"
_STATE = f"""SELECT n_dead_tup, n_tup_upd, n_tup_hot_upd, pg_table_size(relid),
    pg_indexes_size(relid), (SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8
    FROM pg_stat_user_tables WHERE relid = '{_ROWS}'::regclass"""
_SIZES = """SELECT pg_table_size(c), pg_indexes_size(c)
    FROM (SELECT 'sessionledger.{}'::regclass AS c) AS t"""


class State(msgspec.Struct, frozen=True, array_like=True):
    """The table of rows at a moment."""

    dead: int
    updated: int
    hot: int
    table: int
    indexes: int
    wal: float

    @property
    def size(self) -> int:
        return self.table + self.indexes


def many(
    folder: Path,
    sessions: int,
    minutes: float,
    fillfactor: int | None = None,
    policy: Policy = IDLE,
) -> list[Figure]:
    """What a ledger of so many sessions measures, and touches for so many minutes."""
    with _server(folder) as url:
        filling = _fill(url, _units(sessions, policy), fillfactor)
        sizes = _sizes(url, sessions)
        states, rate = asyncio.run(_touched(url, sessions, minutes * 60, policy))
    half = states[len(states) // 2 :]
    first, last = states[0], states[-1]
    updated = last.updated - first.updated
    return [
        Figure("filling", filling, "sessions a second"),
        *sizes,
        Figure(RATE, rate, "a second"),
        Figure("of them HOT", 100 * (last.hot - first.hot) / max(1, updated), "%"),
        Figure("WAL of a touch", (last.wal - first.wal) / max(1, updated), "bytes"),
        Figure("rows and their indexes before", first.size / 1e6, "MB"),
        Figure("rows and their indexes at half-time", half[0].size / 1e6, "MB"),
        Figure("rows and their indexes at the end", last.size / 1e6, "MB"),
        Figure(GROWN, last.size / half[0].size, "×"),
        Figure("the most dead tuples, first half", max(s.dead for s in states), ""),
        Figure("the most dead tuples, last half", max(s.dead for s in half), ""),
    ]


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    folder.chmod(0o711)
    at = folder / "server"
    at.mkdir()
    with STARTERS["postgres"](at, Path(sys.prefix)) as server:
        yield str(server["postgres_uri"])


def _execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _fill(url: str, units: Iterator[Unit], fillfactor: int | None) -> float:
    """Append all sessions; how many a second."""
    log = open_log(url, durability="normal")
    if fillfactor is not None:
        _execute(url, f"ALTER TABLE {_ROWS} SET (fillfactor = {fillfactor})")
    log.fold_with(SESSIONS_TOPIC, SessionFold(SESSIONS_TOPIC))
    start, filled = time.perf_counter(), 0
    while batch := list(islice(units, BATCH)):
        filled += len(log.append(SESSIONS_TOPIC, batch))
    log.close()
    rate = filled / (time.perf_counter() - start)
    _execute(url, "VACUUM ANALYZE")
    return rate


def _units(sessions: int, policy: Policy) -> Iterator[Unit]:
    for number in range(sessions):
        now, key = datetime.now(UTC), digest(token(number))
        command = decide.Create(
            principal=f"user-{number % PRINCIPALS}",
            ttl=timedelta(days=7),
            attributes={"role": "operator", "number": number},
        )
        event = decide.decide_create(None, handle_of(key), command, now, policy)
        change, _ = prepare(Step(event, {}, key, None), microseconds(now) // 1000, None)
        yield Unit((change,))


def _sizes(url: str, sessions: int) -> list[Figure]:
    """Bytes a session, by table."""
    figures = []
    for name in TABLES:
        ((table, indexes),) = _execute(url, _SIZES.format(name))
        if name != "topic_heads":
            figures.append(Figure(name, float(str(table)) / sessions, "bytes a session"))
            figures.append(
                Figure(f"{name}, indexes", float(str(indexes)) / sessions, "bytes a session")
            )
    return figures


async def _touched(
    url: str, sessions: int, seconds: float, policy: Policy
) -> tuple[Sequence[State], float]:
    """Touch at the pace, or as fast as it goes: states, and the rate until the last touch."""
    states = [_state(url)]
    numbers, begun = count(), time.monotonic()
    touched, last = 0, begun

    async def work() -> None:
        nonlocal touched, last
        for number in numbers:
            due = begun + number / PACE
            if due > begun + seconds or time.monotonic() > begun + seconds:
                return
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            at = number * IN_USE % sessions
            assert await store.touch(token(at)) is not None
            touched, last = touched + 1, time.monotonic()

    async def watch() -> None:
        while time.monotonic() < begun + seconds:
            await asyncio.sleep(min(30.0, seconds / 10))
            states.append(await asyncio.to_thread(_state, url))
            print(f"  {time.monotonic() - begun:5.0f} s {touched:9,} {states[-1]}", flush=True)

    async with AsyncSessionStore.open(url, policy=policy) as store:
        await asyncio.gather(watch(), *(work() for _ in range(TASKS)))
        return states, touched / (last - begun)


def _state(url: str) -> State:
    (line,) = _execute(url, _STATE)
    return msgspec.convert(line, State)


if __name__ == "__main__":
    sessions, minutes, factors = int(sys.argv[1]), float(sys.argv[2]), list(map(int, sys.argv[3:]))
    for idle, policy in (("no idle timeout", Policy()), ("an idle timeout", IDLE)):
        for fillfactor in factors or FILLFACTORS:
            with tempfile.TemporaryDirectory(prefix="sessionledger-bench-") as at:
                for figure in many(Path(at), sessions, minutes, fillfactor, policy):
                    told = f"{figure.value:14,.1f} {figure.unit}"
                    print(f"{fillfactor:4}, {idle}: {figure.name:50} {told}", flush=True)
