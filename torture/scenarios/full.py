"""A small file system that becomes full, and has room again."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sessionledger import LogUnavailable, SessionStore
from torture.checker import FORGIVEN
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.processes import Work
from torture.scenarios.kills import some_of
from torture.trial import Trial, url_in
from torture.writer import USUAL, Login, Writer

WRITERS = 2
CALLS = 60
FORGIVEN_HERE = FORGIVEN | {"LogUnavailable"}
MOUNTING = "not tried: mounting takes root"


def full(trial: Trial, log: str) -> None:
    """Two writers fill the disk and go on; then there is room, and two others go on."""
    place = trial.folder / "disk"
    place.mkdir()
    with _mounted(place, trial.rng.randrange(300, 700)) as is_there:
        if not is_there:
            trial.notes["full disk"] = MOUNTING
            return
        filler = place / "filler"
        filler.write_bytes(b"x" * (150 << 10))
        with trial.crew() as crew:
            for _ in range(3):
                for _ in range(WRITERS):
                    crew.start(_work(url_in(place, log), some_of(crew.journal)))
                crew.wait_for_all()
                filler.unlink(missing_ok=True)
            refused = sum(e.answer == "LogUnavailable" for e in crew.journal.entries)
            trial.counts["refused calls"] += refused
            _enlarge(place)
            trial.check(url_in(place, log), crew.journal, crew.next_writer, FORGIVEN_HERE)


def _work(url: str, others: list[Login]) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        with suppress(LogUnavailable), SessionStore.open(url, policy=POLICY) as store:
            Writer(store, recorder, rng, others).work(USUAL | {"create": 30}, CALLS)

    return work


@contextmanager
def _mounted(place: Path, kilobytes: int) -> Iterator[bool]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    is_there = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_there
    finally:
        if is_there:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def _enlarge(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(place)], check=True)
