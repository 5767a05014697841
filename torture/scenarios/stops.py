"""Processes that are stopped amid a call, for longer than anybody waits, and that go on."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import timedelta

from sessionledger import SessionStore
from torture.checker import FORGIVEN
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.processes import Crew, Work
from torture.scenarios.kills import some_of
from torture.trial import Trial
from torture.writer import USUAL, Login, Writer

STOPS = 8
WRITERS = 3
TIMEOUT = timedelta(seconds=0.3)
LONGEST = 20.0
"""Seconds after which a call that should have given up counts as hung, on a busy machine too."""
FORGIVEN_HERE = FORGIVEN | {"LogTimeout", "LogUnavailable"}


def stops(trial: Trial, log: str) -> None:
    """Stop one writer after the other. The others answer or give up, and nothing is lost."""
    url = trial.url(log)
    with trial.crew() as crew:
        living = [crew.start(_work(url, [])) for _ in range(WRITERS)]
        for _ in range(trial.size(STOPS)):
            crew.read_lines(trial.rng.randrange(5, 40))
            time.sleep(trial.rng.random() / 200)
            stopped = trial.rng.randrange(WRITERS)
            os.kill(living[stopped], signal.SIGSTOP)
            trial.counts["stops"] += 1
            others = living[:stopped] + living[stopped + 1 :]
            all_answer(trial, crew, len(others))
            if trial.rng.random() < 0.3:
                crew.kill(living[stopped])
                living[stopped] = crew.start(_work(url, some_of(crew.journal)))
            else:
                os.kill(living[stopped], signal.SIGCONT)
        crew.kill_all()
        given_up = sum(e.answer in {"LogTimeout", "LogUnavailable"} for e in crew.journal.entries)
        trial.counts["calls that gave up"] += given_up
        trial.check(url, crew.journal, crew.next_writer, FORGIVEN_HERE)


def all_answer(trial: Trial, crew: Crew, others: int) -> None:
    """Wait until each of the others has ended a call that began after the stop."""
    since = len(crew.journal.entries)
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        crew.read(0.05)
        begun: set[tuple[int, int]] = set()
        ended: set[int] = set()
        for entry in crew.journal.entries[since:]:
            if not entry.answer:
                begun.add((entry.writer, entry.number))
            elif (entry.writer, entry.number) in begun:
                ended.add(entry.writer)
        if len(ended) >= others:
            return
    trial.fail([f"a call waited for more than {LONGEST} s for a process that was stopped"])


def _work(url: str, others: list[Login]) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        while True:
            with recorder.call("open") as answer:
                store = SessionStore.open(url, policy=POLICY, timeout=TIMEOUT)
                answer.done()
                Writer(store, recorder, rng, others).work(USUAL, 200)
                store.close()

    return work
