"""Compactions that are killed, beside writers that go on with the sessions they keep.

A reader follows the events, webhooks are delivered, and another process maintains the ledger.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

from sessionledger import SessionStore
from torture.checker import FORGIVEN
from torture.company import delivering, maintaining, tailing
from torture.journal import Journal, Recorder
from torture.ledger import POLICY
from torture.processes import Work
from torture.scenarios.kills import start
from torture.trial import Trial
from torture.writer import RETENTION, USUAL, Writer

AGO = timedelta(days=4)
OLD_CALLS = 60
KILLS = 8
WRITERS = 3
COUNTED = {"tail": "events read behind", "deliver": "webhooks delivered"}
FORGIVEN_HERE = FORGIVEN | {"MaintenanceRunning"}


def compactions(trial: Trial, log: str) -> None:
    """Fill a ledger days ago. Then compact it again and again, and kill whoever does it."""
    url = trial.url(log)
    with trial.crew() as crew:
        crew.wait(crew.start(_days_ago(url)))
        for _ in range(WRITERS):
            start(crew, url)
        for beside in (tailing(url), delivering(url, trial.folder)):
            crew.start(beside)
        maintenance = crew.start(maintaining(url))
        for _ in range(trial.size(KILLS)):
            compacting = crew.start(_compacting(url))
            crew.read_lines(trial.rng.randrange(1, 12))
            time.sleep(trial.rng.random() / 50)
            crew.kill(compacting)
            trial.counts["killed compactions"] += 1
        # The last one removes what those that were killed left behind.
        crew.kill(maintenance)
        crew.wait(crew.start(_compacting(url, times=1)))
        trial.counts["kills"] += crew.kill_all()
        count_company(trial, crew.journal)
        removed = sum(e.count for e in crew.journal.entries if e.call == "compact")
        trial.counts["events removed at the end"] += removed
        trial.check(url, crew.journal, crew.next_writer, FORGIVEN_HERE)


def count_company(trial: Trial, journal: Journal) -> None:
    """Count what the reader and the webhooks beside the others were told."""
    for call, what in COUNTED.items():
        trial.counts[what] += sum(e.count for e in journal.entries if e.call == call)


def _days_ago(url: str) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY, clock=lambda: datetime.now(UTC) - AGO) as store:
            Writer(store, recorder, rng).work(USUAL, OLD_CALLS)

    return work


def _compacting(url: str, times: int = 1000) -> Work:
    def work(recorder: Recorder, _: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY) as store:
            for _time in range(times):
                with recorder.call("compact") as answer:
                    answer.done(store.compact(retention=RETENTION).events)

    return work
