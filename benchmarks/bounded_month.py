"""A month of a ledger under a simulated clock: sessions that are used, end and are replaced.

Each is used every ten simulated minutes. A tenth ends each day and is replaced. One in twenty is
rotated, and one in ten has a supplied token.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sessionledger import Log, Policy, SessionStore, open_log
from sessionledger.core.decide import decide_authenticate
from sessionledger.core.instant import microseconds
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.base import Appended, Row, Unit
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.session_fold import draft_of, state_of
from sessionledger.store.steps import Step, prepare

START = datetime(2026, 1, 1, microsecond=123456, tzinfo=UTC)
DAY = timedelta(days=1)
INTERVAL = timedelta(minutes=10)
POLICY = Policy(idle_timeout=timedelta(hours=2), ttl=timedelta(days=60), touch_interval=INTERVAL)


class Month:
    """The ledger, its clock, and the tokens of its live sessions."""

    def __init__(self, url: str, sessions: int) -> None:
        self.url = url
        self.now = START
        self.tokens: list[str] = []
        self._sessions = sessions
        self._made = 0

    @contextmanager
    def opened(self) -> Iterator[tuple[Log, SessionStore]]:
        """The log, and a store at the clock; an answer does not wait for the disk."""
        log = open_log(self.url, durability="normal")
        try:
            with self.store(log) as store:
                yield log, store
        finally:
            log.close()

    def store(self, log: Log) -> SessionStore:
        """A store at the clock."""
        return SessionStore(log, policy=POLICY, clock=lambda: self.now)

    def pass_day(self, log: Log, store: SessionStore) -> None:
        """Let a day pass: some are replaced, then all are used."""
        random.shuffle(self.tokens)
        replaced = self.tokens[: self._sessions // 10]
        for token in replaced:
            assert store.expire(token) is not None
        self.tokens = self.tokens[len(replaced) :]
        rotated = self.tokens[: self._sessions // 20]
        self.tokens[: len(rotated)] = [_rotated(store, token) for token in rotated]
        while len(self.tokens) < self._sessions:
            self.tokens.append(self._create(store))
        self.use(log)

    def _create(self, store: SessionStore) -> str:
        self._made += 1
        supplied = f"supplied-{secrets.token_urlsafe(32)}" if self._made % 10 == 0 else None
        attributes = {"role": "operator", "number": self._made}
        return store.create(f"user-{self._made // 10}", token=supplied, attributes=attributes).token

    def use(self, log: Log) -> None:
        """What `authenticate` appends for each session, a transaction every ten minutes."""
        found = [log.row(SESSIONS_TOPIC, digest(token)) for token in self.tokens]
        rows = [row for row in found if row is not None]
        assert len(rows) == self._sessions
        for _ in range(DAY // INTERVAL):
            self.now += INTERVAL
            rows = self._used(log, rows)

    def _used(self, log: Log, rows: list[Row]) -> list[Row]:
        at, units, drafts = microseconds(self.now) // 1000, [], []
        for row in rows:
            event = decide_authenticate(state_of(row), handle_of(row.key), self.now, POLICY)
            assert event is not None
            change, state = prepare(Step(event, {}, row.key, row), at, None)
            assert state is not None
            units.append(Unit((change,)))
            drafts.append(draft_of(state))
        used = []
        for row, draft, outcome in zip(
            rows, drafts, log.append(SESSIONS_TOPIC, units), strict=True
        ):
            assert isinstance(outcome, Appended)
            used.append(Row.of(row.key, outcome.ids[0], row.created, draft))
        return used


def _rotated(store: SessionStore, token: str) -> str:
    issued = store.rotate(token)
    assert issued is not None
    return issued.token
