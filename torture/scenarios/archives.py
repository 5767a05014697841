"""Compactions with an archive that are killed, stopped or hit by a failing call, beside writers.

Events go through the archive one by one. So afterwards each of them is there, from the first on.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sessionledger import SessionStore
from torture import shim
from torture.journal import DONE, Recorder
from torture.ledger import POLICY
from torture.processes import Crew, Work
from torture.scenarios.kills import some_of
from torture.scenarios.stops import FORGIVEN_HERE, TIMEOUT, all_answer
from torture.trial import Trial
from torture.writer import RETENTION, USUAL, Writer

ROUNDS = 3
APART = RETENTION + timedelta(hours=1)
"""Between two rounds: what one of them appended is old in the next."""
CALLS = 40
ATTEMPTS = 6
WRITERS = 2
PATIENCE = timedelta(minutes=1)
STEPS = {"sqlite": 360, "file": 70, "postgresql": 30}
"""About how many changes of files a compaction makes."""
FAILURES = {"write": 6, "open": 6, "fsync": 4, "rename": 2, "mkdir": 1, "unlink": 2, "close": 5}
ERRORS = ("ENOSPC", "EMFILE", "EIO")


class _Place(NamedTuple):
    """A ledger, its archive, how long ago it is there, and how many changes a compaction makes."""

    url: str
    archive: Path
    ago: timedelta
    steps: int
    timeout: timedelta = TIMEOUT

    def open(self) -> SessionStore:
        def clock() -> datetime:
            return datetime.now(UTC) - self.ago

        return SessionStore.open(self.url, policy=POLICY, clock=clock, timeout=self.timeout)


def archives(trial: Trial, log: str) -> None:
    """Age a ledger round by round. Disturb who compacts it, and read all of it each time."""
    archive = trial.folder / "archive"
    hits = os.open(trial.folder / "hits", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    with trial.crew() as crew:
        rounds = trial.size(ROUNDS)
        for left in range(rounds, -1, -1):
            place = _Place(trial.url(log), archive, left * APART, STEPS[log])
            writers = [crew.start(_writing(crew, place, CALLS)) for _ in range(WRITERS)]
            for pid in writers:
                crew.wait(pid)
            writers = [crew.start(_writing(crew, place, None)) for _ in range(WRITERS)]
            all_answer(trial, crew, WRITERS)
            for _ in range(trial.size(ATTEMPTS) if left < rounds else 0):
                disturb = trial.rng.choice(
                    [_killed_at_a_step, _killed_at_a_step, _killed, _failing, _stopped]
                )
                disturb(trial, crew, place, hits)
                crew.wait(crew.start(_reading_all(place)))
            for pid in writers:
                crew.kill(pid)
            if left < rounds:
                _finish(trial, crew, place)
        trial.counts["failed calls"] += os.fstat(hits).st_size
        os.close(hits)
        removed = sum(e.count for e in crew.journal.entries if e.call == "compact")
        trial.counts["events archived"] += removed
        trial.fail(_left_over(place))
        trial.check(place.url, crew.journal, crew.next_writer, FORGIVEN_HERE, archive=archive)


def _killed_at_a_step(trial: Trial, crew: Crew, place: _Place, _: int) -> None:
    """Right after a write, a flush or another change of a file."""
    last = int(place.steps ** trial.rng.uniform(0.3, 1))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    crew.wait(crew.start(_compacting(place, lambda: shim.record(trial.folder, nowhere, last))))
    os.close(nowhere)
    trial.counts["kills at a step"] += 1
    trial.counts["segments left half-way"] += len([*place.archive.glob(".*.new")])


def _killed(trial: Trial, crew: Crew, place: _Place, _: int) -> None:
    """At any moment."""
    compacting = crew.start(_compacting(place))
    time.sleep(trial.rng.random() / 10)
    crew.kill(compacting)
    trial.counts["kills"] += 1


def _failing(trial: Trial, crew: Crew, place: _Place, hits: int) -> None:
    """A call of the system fails, and maybe all that follow: as on a full disk."""
    kind, error = trial.rng.choice(list(FAILURES)), trial.rng.choice(ERRORS)
    first = int(2 ** trial.rng.uniform(0, FAILURES[kind]))
    last = first if trial.rng.random() < 0.5 else first + 10_000
    crew.wait(
        crew.start(
            _compacting(place, lambda: shim.fail(trial.folder, kind, first, last, error, hits))
        )
    )


def _stopped(trial: Trial, crew: Crew, place: _Place, _: int) -> None:
    """Stopped at any moment. Writers and another compaction answer or give up; then it goes on."""
    compacting = crew.start(_compacting(place))
    time.sleep(trial.rng.random() / 10)
    os.kill(compacting, signal.SIGSTOP)
    all_answer(trial, crew, WRITERS)
    crew.wait(crew.start(_compacting(place)))
    if trial.rng.random() < 0.3:
        crew.kill(compacting)
    else:
        os.kill(compacting, signal.SIGCONT)
        crew.wait(compacting)
    trial.counts["stops"] += 1


def _finish(trial: Trial, crew: Crew, place: _Place) -> None:
    """Compact once more while nobody else does anything: that has to go well."""
    trial.wait_for_the_dead()
    crew.wait(crew.start(_compacting(place._replace(timeout=PATIENCE))))
    last = [e for e in crew.journal.entries if e.call == "compact" and e.answer][-1]
    if last.answer != DONE:
        trial.fail([f"nobody disturbed the last compaction, and it raised {last.said}"])


def _writing(crew: Crew, place: _Place, calls: int | None) -> Work:
    others = some_of(crew.journal)

    def work(recorder: Recorder, rng: random.Random) -> None:
        with place.open() as store:
            Writer(store, recorder, rng, others).work(USUAL | {"revoke_everybody": 0.02}, calls)

    return work


def _compacting(place: _Place, begin: Callable[[], None] = lambda: None) -> Work:
    def work(recorder: Recorder, _: random.Random) -> None:
        begin()
        with place.open() as store, recorder.call("compact") as answer:
            done = store.compact(retention=RETENTION, archive=place.archive)
            answer.done(done.events)

    return work


def _reading_all(place: _Place) -> Work:
    """Reads every event that there ever was, whatever a disturbed compaction left."""

    def work(recorder: Recorder, _: random.Random) -> None:
        with place.open() as store, recorder.call("read all") as answer:
            found = store.verify(archive=place.archive)
            ids = [event.id for event in store.events(archive=place.archive)]
            if not found.ok or found.cut or ids != list(range(1, len(ids) + 1)):
                raise AssertionError(f"{found}: of {ids[-1]} events {len(ids)} are there")
            answer.done(len(ids))

    return work


def _left_over(place: _Place) -> list[str]:
    """What a whole compaction should have removed from the archive: segments no seal names."""
    with place.open() as store:
        sealed = b" ".join(e.payload for e in store.events(archive=place.archive))
    names = [path.name for path in place.archive.iterdir()] if place.archive.exists() else []
    return [f"{name} is left in the archive" for name in names if name.encode() not in sealed]
