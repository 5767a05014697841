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
from torture.company import delivering, maintaining, tailing
from torture.journal import Journal, Recorder
from torture.ledger import POLICY
from torture.powerloss import UNFLUSHED, Record, records_of, replay
from torture.processes import Work
from torture.scenarios.compactions import count_company
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
        sessions = {str(one.handle): one for one in store.sessions(state="all", superseded=True)}
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
        listed = store.sessions(state="all", superseded=True)
        older = {str(one.handle): one for one in listed}
    also: dict[str, float] = {"compact": 8}
    if trial.rng.random() < 0.5:
        _lose_power(trial, log, disk, older, also, archive="archive")
        return
    url = url_in(disk, log)
    beside = (tailing(url), maintaining(url), delivering(url, trial.folder))
    _lose_power(trial, log, disk, older, also, beside)


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
    beside: Sequence[Work] = (),
    archive: str | None = None,
) -> None:
    """Record a writer that dies, and those who follow; then lose power anywhere.

    also: what they call besides the usual. beside: who runs beside three of them, who follow then
    instead of one. archive: the folder on the disk where they archive.
    """
    before = trial.folder / "before"
    shutil.copytree(disk, before, copy_function=shutil.copy2)
    # A mark would end the older sessions.
    weights = USUAL | {"revoke_everybody": 0 if older else 0.1} | (also or {})

    def writing(journal: Journal) -> Work:
        place = disk / archive if archive else None
        return _writing(url_in(disk, log), some_of(journal), weights, place)

    # It has no name: it holds what writers say of their tokens, which the search would find.
    with TemporaryFile("a+b") as recorded, trial.crew() as crew:
        trace = recorded.fileno()
        last = trial.rng.randrange(3, 150)
        crew.wait(crew.start(_recorded(disk, trace, writing(crew.journal), last)))
        for work in beside:
            crew.start(_recorded(disk, trace, work))
        writers = [writing(crew.journal) for _ in range(3 if beside else 1)]
        for pid in [crew.start(_recorded(disk, trace, work)) for work in writers]:
            crew.wait(pid)
        # Nobody follows, so a last change that was not written down matters to nobody.
        crew.kill_all()
        count_company(trial, crew.journal)
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
            place = image / archive if archive else None
            trial.check(url_in(image, log), journal, WRITER_AFTER, older=older, archive=place)
        shutil.rmtree(image)


def _moments(records: Sequence[Record], rng: random.Random) -> Sequence[int]:
    """Moments to choose from: mostly those at which something is not flushed yet."""
    changes = [end for end, record in enumerate(records, 1) if record.kind in CHANGES]
    # Whoever died early changed nothing.
    return changes if changes and rng.random() > 0.25 else range(len(records) + 1)


def _recorded(disk: Path, trace: int, work: Work, last: int = 0) -> Work:
    """The work of a process that writes down all its changes, and dies after the last, if given."""

    def recorded(recorder: Recorder, rng: random.Random) -> None:
        shim.record(disk, trace, last)
        work(Recorder(recorder.writer, lambda line: _note(recorder, line)), rng)

    return recorded


def _writing(
    url: str, others: list[Login], weights: dict[str, float], archive: Path | None
) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY) as store:
            Writer(store, recorder, rng, others, archive).work(weights, CALLS)

    return work


def _note(recorder: Recorder, line: bytes) -> None:
    """Say a line to the parent, and put it between the changes of the disk."""
    shim.note(line)
    recorder.send(line)
