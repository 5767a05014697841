"""A ledger that moves to another address again and again, beside writers that go on with it.

Whoever copies it is killed at random moments, and goes on. Writers of the old ledger end, and new
ones go on with the copy.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from sessionledger import LedgerMoved, copy, open_snapshot
from torture.checker import FORGIVEN
from torture.journal import DONE, Entry, Recorder
from torture.processes import Crew, Work
from torture.scenarios.kills import start
from torture.trial import Trial, url_in
from torture.writer import USUAL

MOVES = 6
KILLS = 5
WRITERS = 3
FORGIVEN_HERE = FORGIVEN | {"LedgerMoved"}
# Reuse of a token that is found as the ledger is left ends nothing, and is reported.
_MAY_FAIL = FORGIVEN_HERE | {"LogUnavailable"}
# A rebuild has the lease, which the move needs too.
_WEIGHTS = USUAL | {"rebuild": 0}


def moves(trial: Trial, log: str) -> None:
    """Move a ledger to each kind of log, and at last to the same kind."""
    here, kinds = trial.url(log), ("sqlite", "file", log)
    with trial.crew() as crew:
        for number in range(trial.size(MOVES)):
            place = trial.folder / f"move {number}"
            place.mkdir()
            there = url_in(place, kinds[number % len(kinds)])
            begun = len(crew.journal.entries)
            for _ in range(WRITERS):
                start(crew, here, _WEIGHTS)
            crew.read_lines(20)
            _move(trial, crew, here, there)
            trial.counts["kills"] += crew.kill_all()
            trial.fail(_late(crew.journal.entries[begun:]))
            trial.counts["moves"] += 1
            here = there
        unclear = [e for e in crew.journal.entries if e.answer == "LogUnavailable"]
        trial.fail(f"{entry.call} was not told of the move: {entry.said}" for entry in unclear)
        trial.check(here, crew.journal, crew.next_writer, _MAY_FAIL)


def _move(trial: Trial, crew: Crew, here: str, there: str) -> None:
    for _ in range(trial.size(KILLS)):
        moving = crew.start(_moving(here, there))
        crew.read_lines(trial.rng.randrange(1, 12))
        time.sleep(trial.rng.random() / 30)
        if crew.is_alive([moving]):
            crew.kill(moving)
            trial.counts["killed moves"] += 1
    while not _is_moved(here):
        crew.wait(crew.start(_moving(here, there)))
    crew.wait(crew.start(_moving(here, there)))  # the one that left it may have been killed then
    crew.read_lines(30)


def _moving(here: str, there: str) -> Work:
    def work(recorder: Recorder, _: random.Random) -> None:
        with recorder.call("move") as answer, suppress(LedgerMoved):
            copy(here, there, cut_over=True)
            answer.done()

    return work


def _is_moved(url: str) -> bool:
    try:
        open_snapshot(url).close()
    except LedgerMoved:
        return True
    return False


def _late(entries: Sequence[Entry]) -> Iterator[str]:
    """The calls that began behind a move, and were answered by the old ledger."""
    is_moved, late = False, set[tuple[int, int]]()
    for entry in entries:
        call = (entry.writer, entry.number)
        if entry.call == "move":
            is_moved = is_moved or entry.answer == DONE
        elif not entry.answer and is_moved and entry.call != "work":
            late.add(call)
        elif call in late and entry.answer not in FORGIVEN_HERE:
            yield f"{entry.call} was answered behind a move: {entry.answer} {entry.said}"
