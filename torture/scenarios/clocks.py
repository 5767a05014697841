"""Clocks that differ between processes by days, and that jump."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from sessionledger import SessionStore
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.scenarios.kills import some_of
from torture.trial import Trial
from torture.writer import TTL, USUAL, Login, Writer

WRITERS = 4
CALLS = 60
# So no session lapses by any clock, and whatever ends was ended.
MOST = TTL / 3


class JumpingClock:
    """A clock that is wrong by another time now and then."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._wrong = timedelta(0)
        self.jump()

    def jump(self) -> None:
        self._wrong = MOST * self._rng.uniform(-1, 1)

    def __call__(self) -> datetime:
        if self._rng.random() < 0.05:
            self.jump()
        return datetime.now(UTC) + self._wrong


def clocks(trial: Trial, log: str) -> None:
    """Writers whose clocks disagree work on the same sessions."""
    url = trial.url(log)
    with trial.crew() as crew:
        for _ in range(2):
            others = some_of(crew.journal)

            def work(recorder: Recorder, rng: random.Random, others: list[Login] = others) -> None:
                clock = JumpingClock(rng)
                with SessionStore.open(url, policy=POLICY, clock=clock) as store:
                    Writer(store, recorder, rng, others).work(USUAL, CALLS)

            for _ in range(WRITERS):
                crew.start(work)
            crew.wait_for_all()
            trial.counts["clocks"] += WRITERS
        trial.check(url, crew.journal, crew.next_writer)
