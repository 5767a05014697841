"""Calls of the system that fail: the n-th write, flush, cut, rename, open, close or removal."""

from __future__ import annotations

import os
import random
from collections.abc import Collection
from contextlib import suppress

from sessionledger import LogUnavailable, SessionStore
from torture import shim
from torture.checker import FORGIVEN
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.processes import Crew
from torture.scenarios.kills import some_of, start
from torture.trial import Trial
from torture.writer import USUAL, Writer

ROUNDS = 12
CALLS = 25
SPACE, BROKEN = "ENOSPC", "EIO"
# The errors of each kind of call, and how many of them a writer makes, in powers of two.
FAILURES = {
    "write": ((BROKEN, SPACE, "EDQUOT"), 7),
    "fsync": ((BROKEN, SPACE), 5),
    "ftruncate": ((BROKEN,), 2),
    "rename": ((BROKEN, SPACE), 1),
    "open": (("EMFILE", BROKEN, SPACE), 4),
    "close": ((BROKEN,), 4),
    "unlink": ((BROKEN,), 1),
    "mkdir": ((BROKEN, SPACE), 1),
}
NEVER_CALLED = {"sqlite": {"rename", "mkdir"}, "file": {"unlink"}}
FORGIVEN_HERE: Collection[str] = FORGIVEN | {"LogUnavailable"}


def failures(trial: Trial, log: str) -> None:
    """One writer after the other meets a failing call, beside a writer that meets none."""
    url, rounds = trial.url(log), trial.size(ROUNDS)
    hits = os.open(trial.folder / "hits", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    with trial.crew() as crew:
        beside = None
        for number in range(rounds):
            if number == rounds // 2:
                beside = start(crew, url)
            crew.wait(_start_failing(trial, crew, log, hits))
        if beside is not None:
            crew.kill(beside)
        trial.counts["failed calls"] += os.fstat(hits).st_size
        os.close(hits)
        trial.check(url, crew.journal, crew.next_writer, FORGIVEN_HERE)


def _start_failing(trial: Trial, crew: Crew, log: str, hits: int) -> int:
    url, others = trial.url(log), some_of(crew.journal)
    kind = trial.rng.choice([one for one in FAILURES if one not in NEVER_CALLED[log]])
    errors, most = FAILURES[kind]
    error, first = trial.rng.choice(errors), int(2 ** trial.rng.uniform(0, most))
    last = first if trial.rng.random() < 0.6 else first + 10_000

    def work(recorder: Recorder, rng: random.Random) -> None:
        shim.fail(trial.folder, kind, first, last, error, hits)
        with suppress(LogUnavailable):
            store = SessionStore.open(url, policy=POLICY)
            Writer(store, recorder, rng, others).work(USUAL, CALLS)
            store.close()

    return crew.start(work)
