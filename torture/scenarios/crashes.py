"""PostgreSQL: writers, their connections, the server's processes and the server are killed."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import psycopg

from sessionledger import LogUnavailable, SessionStore
from torture.checker import FORGIVEN
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.postgres import Server, server
from torture.processes import Crew
from torture.scenarios.kills import some_of
from torture.trial import Trial
from torture.writer import USUAL, Writer

KILLS = 10
WRITERS = 3
KINDS = {"writer": 4, "terminated connection": 4, "backend": 1, "server": 1}
FORGIVEN_HERE = FORGIVEN | {"LogUnavailable"}


def crashes(trial: Trial, log: str) -> None:
    """One thing is killed after the other; writers go on as soon as they can."""
    url, its_server = trial.url(log), server()
    with trial.crew() as crew:
        living = [_start(crew, url) for _ in range(WRITERS)]
        for _ in range(trial.size(KILLS)):
            crew.read_lines(trial.rng.randrange(5, 60))
            time.sleep(trial.rng.random() / 200)
            (kind,) = trial.rng.choices(list(KINDS), list(KINDS.values()))
            trial.counts[f"kills of a {kind}"] += 1
            if kind == "writer":
                crew.kill(living.pop(trial.rng.randrange(WRITERS)))
                living.append(_start(crew, url))
            else:
                _kill(its_server, kind, trial.rng)
        trial.counts["kills of a writer"] += crew.kill_all()
        its_server.start()
        trial.check(url, crew.journal, crew.next_writer, FORGIVEN_HERE)


def _kill(its_server: Server, kind: str, rng: random.Random) -> None:
    if kind == "server":
        its_server.kill()
        its_server.start()
        return
    with suppress(psycopg.OperationalError):  # it may be recovering from the kill before
        clients = its_server.clients()
        if not clients:
            return
        if kind == "backend":
            with suppress(ProcessLookupError):
                os.kill(rng.choice(clients), signal.SIGKILL)
        else:
            its_server.execute(f"SELECT pg_terminate_backend({rng.choice(clients)})")


def _start(crew: Crew, url: str) -> int:
    others = some_of(crew.journal)

    def work(recorder: Recorder, rng: random.Random) -> None:
        while True:
            with suppress(LogUnavailable):
                store = SessionStore.open(url, policy=POLICY)
                Writer(store, recorder, rng, others).work(USUAL, 500)
            time.sleep(0.02)

    return crew.start(work)
