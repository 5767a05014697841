"""A ledger that is lost and restored again and again, beside writers that go on with it.

Whoever backs it up or restores it is killed, at one of its steps or at any moment, and does it
again. The checker is told what a backup may lose: what was acknowledged after it began. Everybody's
sessions are over once it is restored.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sessionledger import (
    DuplicateSession,
    InvalidSession,
    LedgerRestored,
    LogUnavailable,
    NoLedger,
    NotALedger,
    SessionStore,
    open_snapshot,
    restore,
)
from torture.journal import DONE, Entry, Journal, Recorder
from torture.ledger import POLICY
from torture.processes import Crew, Work
from torture.scenarios.kills import start
from torture.steps import die_at
from torture.trial import Trial, url_in

RESTORES = 4
KILLS = 8
WRITERS = 3
STEPS = 60
PERSON = "person@example.org"
UNOPENED = (NoLedger, NotALedger, LogUnavailable)


def backups(trial: Trial, log: str) -> None:
    """Restore a ledger to each kind of log, and at last to the same kind."""
    here, kinds = trial.url(log), ("sqlite", "file", log)
    known = Journal()
    with trial.crew() as crew:
        for number in range(trial.size(RESTORES)):
            place = trial.folder / f"restore {number}"
            place.mkdir()
            there = url_in(place, kinds[number % len(kinds)])
            begun = len(crew.journal.entries)
            with SessionStore.open(here, policy=POLICY) as store:
                person = store.create(PERSON, attributes={"name": PERSON}).token
            for _ in range(WRITERS):
                start(crew, here)
            crew.read_lines(20)
            file = _back_up(trial, crew, here, place)
            crew.read_lines(30)
            trial.counts["kills"] += crew.kill_all()
            trial.wait_for_the_dead()
            with SessionStore.open(here, policy=POLICY) as store:
                erased = store.erase(PERSON).handles
            _restore(trial, crew, file, there, erased)
            known.entries = _kept(known.entries + crew.journal.entries[begun:])
            known.entries += _everybody(crew.next_writer)
            trial.fail(_revived(there, person, known, crew.journal.entries[begun:]))
            trial.counts["restores"] += 1
            here = there
        begun = len(crew.journal.entries)
        for _ in range(WRITERS):
            start(crew, here)
        crew.read_lines(60)
        trial.counts["kills"] += crew.kill_all()
        known.entries += crew.journal.entries[begun:]
        trial.fail(_unexpected(crew.journal.entries))
        trial.check(here, known, crew.next_writer)


def _back_up(trial: Trial, crew: Crew, here: str, place: Path) -> Path:
    """Back the ledger up, by processes of which all but the last are killed."""
    file = place / "backup"
    for _ in range(trial.size(KILLS)):
        trial.counts["killed backups"] += _killed(trial, crew, _backing_up(here, file))
        for left in place.glob(".backup.*.draft"):
            with suppress(*UNOPENED), SessionStore.open(f"sqlite:///{left}") as store:
                trial.fail([f"{left} is opened"] if store.head().id else [])
        if file.exists():
            assert file.stat().st_size
            file = place / f"backup {trial.rng.random()}"
    crew.wait(crew.start(_backing_up(here, file)))
    return file


def _restore(trial: Trial, crew: Crew, file: Path, there: str, erased: Sequence[str]) -> None:
    """Restore a backup, by processes of which all but the last are killed."""
    for _ in range(trial.size(KILLS)):
        if not _is_there(there):
            restoring = _restoring(file, there, erased)
            trial.counts["killed restores"] += _killed(trial, crew, restoring)
            trial.wait_for_the_dead()
    if not _is_there(there):
        crew.wait(crew.start(_restoring(file, there, erased)))
    assert _is_there(there)


def _killed(trial: Trial, crew: Crew, work: Work) -> bool:
    """Kill work at one of its steps, or at some moment; whether it had not ended before."""
    step = trial.rng.randrange(1, STEPS) if trial.rng.random() < 0.7 else 0
    begun = len(crew.journal.entries)
    process = crew.start(_dying(work, step))
    if step:
        crew.wait(process)
        done = [e for e in crew.journal.entries[begun:] if e.call == "work" and e.answer == DONE]
        return not done
    time.sleep(trial.rng.random() / 5)
    is_alive = crew.is_alive([process])
    if is_alive:
        crew.kill(process)
    return is_alive


def _dying(work: Work, step: int) -> Work:
    def dying(recorder: Recorder, rng: random.Random) -> None:
        if step:
            die_at(step)
        work(recorder, rng)

    return dying


def _backing_up(url: str, file: Path) -> Work:
    def work(recorder: Recorder, _: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY) as store, recorder.call("backup") as answer:
            store.backup(file)
            answer.done()

    return work


def _restoring(file: Path, url: str, erased: Sequence[str]) -> Work:
    def work(recorder: Recorder, _: random.Random) -> None:
        with recorder.call("restore") as answer:
            restore(file, url, erased=erased)
            answer.done()

    return work


def _is_there(url: str) -> bool:
    try:
        open_snapshot(url).close()
    except UNOPENED:
        return False
    return True


def _unexpected(entries: Sequence[Entry]) -> Iterator[str]:
    """Backups and restores that failed. The checker sees the other calls."""
    for entry in entries:
        if entry.answer[:1].isupper() and entry.call in {"backup", "restore"}:
            yield f"{entry.call} raised {entry.answer}: {entry.said}"
        if entry.answer.startswith("raw "):
            yield f"{entry.call} raised no error of the package: {entry.said}"


def _kept(entries: Sequence[Entry]) -> list[Entry]:
    """What a backup has for sure, and what was under way: as if it had never been answered."""
    calls = [at for at, entry in enumerate(entries) if entry.call == "backup"]
    done = max(at for at in calls if entries[at].answer == DONE)
    mine = (entries[done].writer, entries[done].number)
    begun = min(at for at in calls if (entries[at].writer, entries[at].number) == mine)
    return [*entries[:begun], *(one for one in entries[begun:done] if not one.answer)]


def _everybody(writer: int) -> list[Entry]:
    """A restore ends everybody's sessions."""
    return [Entry(writer, 1, "revoke_everybody", answer) for answer in ("", DONE)]


def _revived(url: str, person: str, known: Journal, entries: Sequence[Entry]) -> Iterator[str]:
    """What a restored ledger answers that was lost, or was erased from it."""
    tokens = {person} | {entry.token for entry in entries if entry.token}
    lost = tokens - set(known.tokens().values()) - {person}
    with SessionStore.open(url, policy=POLICY) as store:
        for token in tokens:
            if store.get(token) is not None:
                yield "a restored ledger has a live session"
        for token in sorted(lost)[:20]:
            with suppress(DuplicateSession, InvalidSession):
                store.create("mallory", token=token)
                yield "a token was used again that was used before the restore"
        events = list(store.events())
        for event in events:
            if PERSON.encode() in event.payload:
                yield f"event {event.id} names a person who was erased"
        restored = max(event.id for event in events if event.kind == "ledger_restored")
        kept = max(event.id for event in events if event.id < restored)
        newest = max(entry.version for entry in entries)
        if newest > kept:
            with suppress(LedgerRestored):
                next(store.events(after=newest))
                yield f"event {newest} was lost, and is taken for another one"
