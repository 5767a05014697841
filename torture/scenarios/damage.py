"""A bit that flips, or a file that is cut, anywhere in a ledger that nobody has open."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from sessionledger import SessionStore, diagnose
from torture.checker import faults
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.processes import Crew
from torture.scenarios.kills import start
from torture.trial import Trial, url_in
from torture.writer import USUAL, Login, Writer

HARMS = 15
LINES = 260
TOLD = "told"
FEW_MARKS = USUAL | {"revoke_everybody": 0.02, "rebuild": 0.05}


def damage(trial: Trial, log: str) -> None:
    """Harm copies of a ledger. Whatever is answered wrongly then must be reported by something."""
    original = trial.folder / "original"
    original.mkdir()
    with trial.crew() as crew:
        writer = start(crew, url_in(original, log), FEW_MARKS)
        crew.read_lines(LINES)
        crew.kill(writer)  # so that SQLite leaves its write-ahead log
        head = _head(trial, log, original)
        for number in range(trial.size(HARMS)):
            copy = trial.folder / str(number)
            shutil.copytree(original, copy)
            harm = _harm(copy, trial.rng)
            trial.counts["harms"] += 1
            trial.fail(f"{harm}: {fault}" for fault in _looked_at(crew, log, copy, head))
            shutil.rmtree(copy)


def _head(trial: Trial, log: str, original: Path) -> str:
    """The head that an owner has noted; it is read from a copy, so that nothing is cleaned up."""
    copy = trial.folder / "head"
    shutil.copytree(original, copy)
    with SessionStore.open(url_in(copy, log)) as store:
        return str(store.head())


def _harm(folder: Path, rng: random.Random) -> str:
    files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size]
    files = [p for p in files if not p.name.endswith("-shm")]
    path = rng.choices(files, [p.stat().st_size for p in files])[0]
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    if rng.random() < 0.75:
        bit = rng.randrange(8)
        content[place] ^= 1 << bit
        path.write_bytes(content)
        return f"bit {bit} of byte {place} of {path.name} was flipped"
    path.write_bytes(content[:place])
    return f"{path.name} was cut to {place} of {len(content)} bytes"


def _looked_at(crew: Crew, log: str, copy: Path, head: str) -> Iterator[str]:
    """What is wrong with the answers of a harmed ledger, and was not reported; always, a revived
    session in a folder of files, and an error of somebody else."""
    before = list(crew.journal.entries)
    tokens = crew.journal.tokens()

    def look(recorder: Recorder, rng: random.Random) -> None:
        _look(url_in(copy, log), recorder, rng, tokens, head)

    crew.wait(crew.start(look))
    answers = crew.journal.entries[len(before) :]
    crew.journal.entries[len(before) :] = []
    if not any(entry.call == "work" and entry.answer for entry in answers):
        yield "a reader died of it"
    told = any(entry.answer[:1].isupper() or entry.call == TOLD for entry in answers)
    errors = {entry.answer for entry in answers if entry.answer[:1].isupper()}
    for fault in faults(before + answers, None, errors):
        is_revived = "live after its end" in fault or "had been seen ended" in fault
        if not told or "no error of the package" in fault or (is_revived and log == "file"):
            yield fault


def _look(
    url: str, recorder: Recorder, rng: random.Random, tokens: dict[str, str], head: str
) -> None:
    """Everything that an owner would do, each in spite of what failed before."""
    found = []
    with recorder.call("diagnose") as answer:
        found += [one.code for one in diagnose(url)]
        answer.done()
    with recorder.call("open") as answer:
        store = SessionStore.open(url, policy=POLICY)
        answer.done()
        _read(store, recorder, rng, tokens, head)
    if found:
        with recorder.call(TOLD) as answer:
            answer.done()


def _read(
    store: SessionStore,
    recorder: Recorder,
    rng: random.Random,
    tokens: dict[str, str],
    head: str,
) -> None:
    reader = Writer(store, recorder, rng)
    for handle, token in tokens.items():
        reader.read(Login(token, handle, ""))
    reader.listing()
    is_whole = False
    with recorder.call("verify") as answer:
        is_whole = store.verify(expect=head).ok
        answer.done()
    with recorder.call("diagnose") as answer:
        is_whole = is_whole and not store.diagnose()
        answer.done()
    if not is_whole:
        with recorder.call(TOLD) as answer:
            answer.done()
    for handle in rng.sample(list(tokens), min(3, len(tokens))):
        with recorder.call("revoke", handle=handle) as answer:
            store.revoke(handle=handle)
            answer.done()
        reader.read(Login(tokens[handle], handle, ""))
    reader.work({"create": 1, "sweep": 0.5, "revoke_all": 1, "rebuild": 0.3}, 4)
    with recorder.call("close") as answer:
        store.close()
        answer.done()
