"""Loss of power at any moment of a recorded run: what was acknowledged is in every image."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile

from sessionledger import Session, SessionStore
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
DAY = timedelta(days=1)
CHANGES = frozenset("wtcmrul")
LEDGERS = Path(__file__).parent.parent.parent / "tests" / "data" / "ledgers"
WRITER_AFTER = 1000
"""Beyond the numbers of all writers."""


def power(trial: Trial, log: str) -> None:
    """Begin a ledger."""
    disk = trial.folder / "disk"
    disk.mkdir()
    _lose_power(trial, log, disk, {})


def upgrades(trial: Trial, log: str) -> None:
    """Bring a ledger of an older schema up to date, and go on with it."""
    disk = trial.folder / "disk"
    recorded = sorted(p for p in LEDGERS.glob(f"{log}-*") if p.suffix != ".json")
    older = trial.rng.choice(recorded)
    place = disk / ("s.db" if log == "sqlite" else "ledger")
    sessions = {}
    for folder in (disk, trial.folder / "copy"):
        folder.mkdir()
        _copy(older, folder / place.name)
    with SessionStore.open(url_in(trial.folder / "copy", log), policy=POLICY) as store:
        sessions = {str(one.handle): one for one in store.sessions(live=False, superseded=True)}
    _lose_power(trial, log, disk, sessions)


def power_compactions(trial: Trial, log: str) -> None:
    """Compact a ledger of days ago, while others write to it."""
    disk = trial.folder / "disk"
    disk.mkdir()
    begun = datetime.now(UTC)
    clock = iter(begun - timedelta(minutes=10 * left) for left in range(600, 0, -1))
    with SessionStore.open(url_in(disk, log), policy=POLICY, clock=lambda: next(clock)) as store:
        made = [store.create("an older one", ttl=30 * DAY) for _ in range(24)]
        for one in made[:12]:
            store.touch(one.token, attributes={"seen": one.handle})
        for one in made[::3]:
            store.expire(one.token)
        listed = store.sessions(live=False, superseded=True)
        older = {str(one.handle): one for one in listed}
    archive = "archive" if trial.rng.random() < 0.5 else None
    _lose_power(trial, log, disk, older, {"compact": 8}, archive)


def _copy(older: Path, place: Path) -> None:
    """A copy of a recorded ledger, for its owner alone."""
    if older.is_dir():
        shutil.copytree(older, place)
    else:
        shutil.copy(older, place)
    for path in (place, *place.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _lose_power(
    trial: Trial,
    log: str,
    disk: Path,
    older: Mapping[str, Session],
    also: dict[str, float] | None = None,
    archive: str | None = None,
) -> None:
    """Record a writer that dies, and the one that follows; then lose power anywhere.

    also: what they call besides the usual. archive: the folder on the disk where they archive.
    """
    before = trial.folder / "before"
    shutil.copytree(disk, before, copy_function=shutil.copy2)
    # A mark would end the older sessions.
    weights = USUAL | {"revoke_everybody": 0 if older else 0.1} | (also or {})
    # It has no name: it holds what writers say of their tokens, which the search would find.
    with TemporaryFile("a+b") as recorded, trial.crew() as crew:
        trace = recorded.fileno()
        for last in (trial.rng.randrange(3, 150), 0):
            others = some_of(crew.journal)
            place = archive and disk / archive
            crew.wait(crew.start(_recorded(disk, log, trace, others, weights, last, place or None)))
        records = list(records_of(os.pread(trace, os.fstat(trace).st_size, 0)))
    for number in range(trial.size(IMAGES)):
        end = trial.rng.choice(_moments(records, trial.rng))
        unflushed, strict = trial.rng.choice(UNFLUSHED), trial.rng.random() < 0.6
        replayed, said = replay(before, disk, records, end)
        image = trial.folder / str(number)
        replayed.write(image, trial.rng, unflushed, strict=strict)
        trial.counts["images"] += 1
        journal = Journal()
        journal.feed(said)
        with trial.explained(f"after {end} of {len(records)} steps, {unflushed=}, {strict=}"):
            place = archive and image / archive
            url = url_in(image, log)
            trial.check(url, journal, WRITER_AFTER, older=older, archive=place or None)
        shutil.rmtree(image)


def _moments(records: Sequence[Record], rng: random.Random) -> Sequence[int]:
    """Moments to choose from: mostly those at which something is not flushed yet."""
    changes = [end for end, record in enumerate(records, 1) if record.kind in CHANGES]
    # Whoever died early changed nothing.
    return changes if changes and rng.random() > 0.25 else range(len(records) + 1)


def _recorded(
    disk: Path,
    log: str,
    trace: int,
    others: list[Login],
    weights: dict[str, float],
    last: int,
    archive: Path | None,
) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        shim.record(disk, trace, last)
        noted = Recorder(recorder.writer, lambda line: _note(recorder, line))
        with SessionStore.open(url_in(disk, log), policy=POLICY) as store:
            Writer(store, noted, rng, others, archive).work(weights, CALLS)

    return work


def _note(recorder: Recorder, line: bytes) -> None:
    """Say a line to the parent, and put it between the changes of the disk."""
    shim.note(line)
    recorder.send(line)
