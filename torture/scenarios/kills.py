"""`kill -9` of writers, amid every call of the store."""

from __future__ import annotations

import random
import time

from sessionledger import SessionStore
from torture.journal import Journal, Recorder
from torture.ledger import POLICY
from torture.processes import Crew
from torture.trial import Trial
from torture.writer import USUAL, Login, Writer

KILLS = 10
WRITERS = 3


def kills(trial: Trial, log: str) -> None:
    """Kill one writer after the other; a new one goes on with the sessions that are there."""
    url = trial.url(log)
    with trial.crew() as crew:
        living = [start(crew, url) for _ in range(WRITERS)]
        for _ in range(trial.size(KILLS)):
            crew.read_lines(trial.rng.randrange(1, 60))
            time.sleep(trial.rng.random() / 200)
            crew.kill(living.pop(trial.rng.randrange(WRITERS)))
            trial.counts["kills"] += 1
            living.append(start(crew, url))
        crew.read_lines(trial.rng.randrange(1, 60))
        trial.counts["kills"] += crew.kill_all()
        trial.check(url, crew.journal, crew.next_writer)


def start(crew: Crew, url: str, weights: dict[str, float] | None = None) -> int:
    """Start a writer that makes calls until it is killed; its process."""
    others = some_of(crew.journal)

    def work(recorder: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY) as store:
            Writer(store, recorder, rng, others).work(weights or USUAL)

    return crew.start(work)


def some_of(journal: Journal, most: int = 12) -> list[Login]:
    """The newest sessions that somebody began."""
    principals = {e.issued or e.handle: e.principal for e in journal.entries if e.token}
    children: set[str] = set()
    for entry in journal.entries:
        if entry.parent or entry.handle in children:
            children.add(entry.issued or entry.handle)
    newest = list(journal.tokens().items())[-most:]
    return [
        Login(token, handle, principals[handle], handle in children) for handle, token in newest
    ]
