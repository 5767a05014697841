"""The tail of a log: a thread and a connection that read what happened, again and again.

Each round is one transaction in one trip. It ends with a commit that has something to flush, at the
durability of the log. A primary that was cut off from its standbys gets no answer to that commit,
so it confirms nothing. No NOTIFY is waited for, so none can be lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue

import psycopg

from sessionledger.errors import SessionLedgerError
from sessionledger.logs import chain
from sessionledger.logs.base import Fold
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Lines, NoAnswer, Statement
from sessionledger.logs.postgres.pool import Pool
from sessionledger.logs.postgres.staleness import confirmed_rows
from sessionledger.logs.postgres.staleness.confirmed_rows import ConfirmedRows, Passed, Round

EVENTS_A_ROUND = 1000
ROUNDS_A_BOUND = 3  # one may fail, and the next still comes in time
MOST_REST_SECONDS, BEHIND_SECONDS = 1.0, 0.02
MOST_PATIENCE_SECONDS = 300.0


class Tail:
    """The caches of a log's topics, and the thread that confirms them.

    pool: of a single connection. folds: those of the log, by which events are read.
    """

    def __init__(
        self, pool: Pool, max_staleness: float, timeout: float, folds: Mapping[str, Fold]
    ) -> None:
        self.caches: dict[str, ConfirmedRows] = {}
        self.problem = ""
        self.pool = pool
        self._folds = folds
        self._bound = round(max_staleness * 1e9)
        self._rest = min(max_staleness / ROUNDS_A_BOUND, MOST_REST_SECONDS)
        self._timeout = self._patience = timeout
        self._lock = Lock()
        self._thread: threading.Thread | None = None
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._is_stopped = False

    def follow(self, topic: str) -> ConfirmedRows:
        """The cache of a topic, which is confirmed from now on."""
        with self._lock:
            if topic not in self.caches:
                self.caches[topic] = ConfirmedRows(self._bound)
                self._wakes.put(None)
            if self._thread is None and not self._is_stopped:
                name = "sessionledger-tail"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            return self.caches[topic]

    def stop(self) -> None:
        """Confirm nothing more, and hang up."""
        self._is_stopped = True
        self._wakes.put(None)
        if self._thread is not None:
            self._thread.join(MOST_REST_SECONDS)
        self.pool.close()

    def _run(self) -> None:
        while not self._is_stopped:
            rest = self._rest
            try:
                if not self._round():
                    rest = min(rest, BEHIND_SECONDS)
                self.problem, self._patience = "", self._timeout
            except (psycopg.Error, SessionLedgerError, OSError) as error:
                self.problem = type(error).__name__
                if isinstance(error, NoAnswer):
                    # A commit that waits for a standby keeps its process after we hang up.
                    self._patience = min(2 * self._patience, MOST_PATIENCE_SECONDS)
            with suppress(Empty):
                self._wakes.get(timeout=rest)

    def _round(self) -> bool:
        """Read and apply what is new. Whether every cache is at its head."""
        caches = list(self.caches.items())
        begin, beat = (queries.BEGIN_WRITING, ()), (queries.HEARTBEAT, ())
        heads: Statement = (queries.HEADS, (list(self.caches),))
        news = [_events_from(topic, cache.cursor) for topic, cache in caches]
        asked_at = confirmed_rows.since_boot(), time.time_ns()
        with self.pool.lent(time.monotonic() + self._patience) as connection:
            _, ((is_standby, epoch, _),), lines, *found, _ = connection.commit(
                begin, beat, heads, *news, ("COMMIT", ())
            )
        if is_standby:
            raise psycopg.OperationalError
        ids: dict[str, int] = dict(lines)
        is_at_head = True
        for (topic, cache), events in zip(caches, found, strict=True):
            one = Round(asked_at, ids.get(topic, 0), epoch, self._passed(topic, events))
            is_at_head = cache.advance(one) and is_at_head
        return is_at_head

    def _passed(self, topic: str, lines: Lines) -> list[Passed]:
        fold, events = self._folds.get(topic), queries.stored_events(lines)
        key_of = (lambda _: None) if fold is None else fold.key
        return [Passed(e.id, e.headers.get(chain.HASH_HEADER), key_of(e)) for e in events]


def _events_from(topic: str, cursor: int) -> Statement:
    """What asks for the events from the cursor on, or for the newest where there is no cursor."""
    if not cursor:
        return queries.NEWEST_EVENT, (topic, topic)
    return queries.EVENTS_AFTER, (topic, cursor - 1, EVENTS_A_ROUND)
