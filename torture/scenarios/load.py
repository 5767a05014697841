"""Eight processes that write and read as fast as they can: each gets its turn."""

from __future__ import annotations

import random
import time
from pathlib import Path

from sessionledger import SessionStore
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.processes import Work
from torture.trial import Trial
from torture.writer import Writer

PROCESSES = 8
MOST_SECONDS = 60
READS = 10
"""After each write."""
WAL_BYTES = 64 << 20
LEAST_WRITES = 500
"""Of the fastest, for a comparison to mean anything."""


def load(trial: Trial, log: str) -> None:
    """The slowest has at least half of what the fastest has, and the write-ahead log is bounded."""
    url = trial.url(log)
    seconds = min(MOST_SECONDS, max(1.0, trial.seconds / 60))
    with trial.crew() as crew:
        for _ in range(PROCESSES):
            crew.start(_work(url, seconds, trial.folder))
        largest = 0
        while crew.is_alive(crew.living):
            crew.read(0.05)
            wal = trial.folder / "s.db-wal"
            largest = max(largest, wal.stat().st_size if wal.exists() else 0)
        crew.read()
        writes = sorted(e.count for e in crew.journal.entries if e.call == "load" and e.answer)
        trial.counts["writes"] += sum(writes)
        trial.notes["slowest to fastest"] = f"{writes[0]:,} to {writes[-1]:,}"
        trial.notes["p99.9 of reads"] = f"{_worst_reads(trial.folder):.2f} ms"
        if log == "sqlite":
            trial.notes["largest WAL"] = f"{largest / (1 << 20):.1f} MiB"
        if len(writes) < PROCESSES:
            trial.fail([f"{PROCESSES - len(writes)} processes did not end well"])
        if writes[-1] >= LEAST_WRITES and writes[0] * 2 < writes[-1]:
            trial.fail([f"the slowest made {writes[0]} writes, the fastest {writes[-1]}"])
        if largest > WAL_BYTES:
            trial.fail([f"the write-ahead log grew to {largest} bytes"])
        trial.check(url, crew.journal, crew.next_writer)


def _work(url: str, seconds: float, folder: Path) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY) as store, recorder.call("load") as answer:
            writer = Writer(store, recorder, rng)
            writer.work({"create": 1}, 5)
            token = writer.newest.token
            reads, writes = [], 0
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                store.patch(token, {"n": writes})
                writes += 1
                for _ in range(READS):
                    begun = time.perf_counter()
                    store.get(token)
                    reads.append(time.perf_counter() - begun)
            (folder / f"reads-{recorder.writer}").write_text("\n".join(map(str, reads)))
            answer.done(writes)

    return work


def _worst_reads(folder: Path) -> float:
    """The 99.9th percentile of all reads, in milliseconds."""
    reads = sorted(
        float(line) for path in folder.glob("reads-*") for line in path.read_text().split()
    )
    return reads[int(len(reads) * 0.999)] * 1000 if reads else 0.0
