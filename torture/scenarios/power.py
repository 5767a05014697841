"""Loss of power at any moment of a recorded run: what was acknowledged is in every image."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from sessionledger import SessionStore
from torture import shim
from torture.journal import Journal, Recorder
from torture.ledger import POLICY
from torture.powerloss import UNFLUSHED, Record, records_of, replay
from torture.processes import Work
from torture.scenarios.kills import some_of
from torture.trial import Trial, url_in
from torture.writer import USUAL, Login, Writer

IMAGES = 14
CALLS = 22
CHANGES = frozenset("wtcmrul")
WRITER_AFTER = 1000
"""Beyond the numbers of all writers."""


def power(trial: Trial, log: str) -> None:
    """Record the first writer of a ledger, and the one that follows when it was killed."""
    disk, before = trial.folder / "disk", trial.folder / "before"
    disk.mkdir()
    # It has no name: it holds what writers say of their tokens, which the search would find.
    with TemporaryFile("a+b") as recorded, trial.crew() as crew:
        trace = recorded.fileno()
        crew.start(_recorded(disk, log, trace, []))
        crew.read_lines(trial.rng.randrange(2, CALLS))
        crew.kill_all()
        crew.start(_recorded(disk, log, trace, some_of(crew.journal)))
        crew.wait_for_all()
        records = list(records_of(os.pread(trace, os.fstat(trace).st_size, 0)))
    disk.rename(before)  # the images are of a folder that was empty at first
    disk.mkdir()
    for number in range(trial.size(IMAGES)):
        end = trial.rng.choice(_moments(records, trial.rng))
        unflushed, strict = trial.rng.choice(UNFLUSHED), trial.rng.random() < 0.6
        replayed, said = replay(disk, records, end)
        image = trial.folder / str(number)
        replayed.write(image, trial.rng, unflushed, strict=strict)
        trial.counts["images"] += 1
        journal = Journal()
        journal.feed(said)
        with trial.explained(f"after {end} of {len(records)} steps, {unflushed=}, {strict=}"):
            trial.check(url_in(image, log), journal, WRITER_AFTER)
        shutil.rmtree(image)


def _moments(records: Sequence[Record], rng: random.Random) -> Sequence[int]:
    """Moments to choose from: mostly those at which something is not flushed yet."""
    if rng.random() < 0.25:
        return range(len(records) + 1)
    return [end for end, record in enumerate(records, 1) if record.kind in CHANGES]


def _recorded(disk: Path, log: str, trace: int, others: list[Login]) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        shim.record(disk, trace)
        noted = Recorder(recorder.writer, lambda line: _note(recorder, line))
        with SessionStore.open(url_in(disk, log), policy=POLICY) as store:
            Writer(store, noted, rng, others).work(USUAL, CALLS)

    return work


def _note(recorder: Recorder, line: bytes) -> None:
    """Say a line to the parent, and put it between the changes of the disk."""
    shim.note(line)
    recorder.send(line)
