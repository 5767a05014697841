"""What became of the comparison, as it is kept, printed and written into tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import msgspec

from benchmarks.peers.contender import CREATE, CREATE_TOGETHER, LIST, REVOKE, VALIDATE
from benchmarks.peers.telling import Told
from benchmarks.rounds import Timing, ratio


class Compared(msgspec.Struct, frozen=True):
    """Everyone who took part; by task and row, microseconds per operation; who could not, why."""

    measured_at: str
    sessions: int
    peers: list[Told]
    timings: dict[str, dict[str, Timing]]
    not_run: list[str]


class Task(msgspec.Struct, frozen=True):
    """A task as it is told to a reader, and the row of ours that the others are held against."""

    title: str
    short: str
    ours: str


TASKS = {
    VALIDATE: Task("Validating a token", "validate", "sessionledger"),
    CREATE: Task("Creating durably, one at a time", "create", "sessionledger"),
    CREATE_TOGETHER: Task(
        "Creating durably, 128 at once", "create 128 at once", "sessionledger, async"
    ),
    LIST: Task("Listing a principal's ten sessions", "list", "sessionledger"),
    REVOKE: Task("Revoking a principal's ten sessions", "revoke", "sessionledger"),
}


class Row(msgspec.Struct, frozen=True):
    """One line of a table; `times` is the ratio to ours."""

    peer: Told
    median: float
    best: float
    times: float | None


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def rows(compared: Compared, task: str) -> list[Row]:
    """The quickest first."""
    timings = compared.timings.get(task, {})
    found = [
        Row(
            peer,
            timings[peer.name].median,
            timings[peer.name].best,
            _times(timings, peer.name, TASKS[task].ours),
        )
        for peer in compared.peers
        if peer.name in timings
    ]
    return sorted(found, key=lambda row: row.median)


def _times(timings: Mapping[str, Timing], name: str, ours: str) -> float | None:
    return ratio(timings, name, ours) if ours in timings else None


def show(compared: Compared) -> None:
    """Print it."""
    for task, told in TASKS.items():
        print(f"\n{told.title}\n{'':38}{'median µs':>12}{'best µs':>12}{'× ours':>10}")
        for row in rows(compared, task):
            times = "" if row.times is None else f"{row.times:10.2f}"
            print(f"  {row.peer.name:36}{row.median:12.2f}{row.best:12.2f}{times}")
    for reason in compared.not_run:
        print(f"  not run: {reason}")
    sys.stdout.flush()
