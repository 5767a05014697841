"""A process that fills a ledger, or a bare table, in bulk: python -m benchmarks.bulk_filling
URL|PATH SESSIONS.

The sessions come in the order of their keys, so that every index grows at its end: else filling
takes hours. Both have it as good.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from benchmarks.bare import BareTable
from benchmarks.filling import principal, token
from sessionledger import Policy, Session, open_log
from sessionledger.core import decide
from sessionledger.core.instant import microseconds
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.base import Unit
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.session_fold import SessionFold
from sessionledger.store.steps import Step, prepare

BATCH = 5000
"""The sessions of a transaction."""


Prepared: TypeAlias = tuple[Unit, str, Session]


def batches(count: int) -> Iterator[list[Prepared]]:
    sessions = prepared(count)
    while batch := list(islice(sessions, BATCH)):
        yield batch


def prepared(count: int) -> Iterator[Prepared]:
    """What creating each session appends, its token, and the session."""
    policy = Policy()
    keys = sorted((digest(token(number)), number) for number in range(count))
    for place, (key, number) in enumerate(keys):
        now = datetime.now(UTC)
        command = decide.Create(
            principal=principal(place),
            ttl=timedelta(days=7),
            attributes={"role": "operator", "number": number},
        )
        event = decide.decide_create(None, handle_of(key), command, now, policy)
        change, session = prepare(Step(event, {}, key, None), microseconds(now) // 1000, None)
        assert isinstance(session, Session)
        yield Unit((change,)), token(number), session


def fill_ledger(url: str, count: int) -> None:
    log = open_log(url, durability="normal")
    log.fold_with(SESSIONS_TOPIC, SessionFold(SESSIONS_TOPIC))
    for batch in batches(count):
        log.append(SESSIONS_TOPIC, [unit for unit, _, _ in batch])
    log.close()


def fill_bare(path: Path, count: int) -> None:
    table = BareTable(path)
    table.connection.execute("PRAGMA synchronous = normal")
    for batch in batches(count):
        table.fill([(secret, session) for _, secret, session in batch])
    table.connection.close()


if __name__ == "__main__":
    place, number = sys.argv[1:]
    if ":" in place:
        fill_ledger(place, int(number))
    else:
        fill_bare(Path(place), int(number))
