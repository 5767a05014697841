"""What became of the comparison, as it is kept, printed and written into tables."""

from __future__ import annotations

import statistics
import sys
import time

import msgspec

from benchmarks.peers.contender import (
    CREATE,
    CREATE_BATCH,
    CREATE_TOGETHER,
    LIST,
    REVOKE,
    VALIDATE,
)
from benchmarks.peers.telling import Told
from benchmarks.rounds import Goal, Timing, Verdict, judge

SYNC, ASYNC = "sessionledger", "sessionledger, async"


class Compared(msgspec.Struct, frozen=True):
    """Everyone who took part; by task and row, microseconds per operation; who could not, why."""

    measured_at: str
    sessions: int
    peers: list[Told]
    timings: dict[str, dict[str, Timing]]
    not_run: list[str]
    verdicts: list[Verdict] = []


class Task(msgspec.Struct, frozen=True):
    """A task as it is told to a reader, and what of ours the rows are held against."""

    title: str
    short: str
    ours: str
    against: str


TASKS = {
    VALIDATE: Task("Validating a token", "validate", SYNC, VALIDATE),
    CREATE: Task("Creating durably, one at a time", "create", SYNC, CREATE),
    CREATE_TOGETHER: Task("Creating durably, 128 tasks", "128 tasks", ASYNC, CREATE_TOGETHER),
    CREATE_BATCH: Task(
        "The floor of that: batches of 128 by one caller", "batch", ASYNC, CREATE_TOGETHER
    ),
    LIST: Task("Listing a principal's ten sessions", "list", SYNC, LIST),
    REVOKE: Task("Revoking a principal's ten sessions", "revoke", SYNC, REVOKE),
}

# Creates of 128 tasks should be ahead of each server, also of one that is batched by hand.
GOALS = tuple(
    Goal(ASYNC, baseline, 1.0)
    for baseline in (
        "PostgreSQL, tasks on a pool",
        "PostgreSQL, tasks batched by hand",
        "Redis, tasks on a pool",
        "Redis, tasks pipelined by hand",
        "JetStream",
        "JetStream, tasks batched by hand",
    )
)


class Row(msgspec.Struct, frozen=True):
    """One line of a table; `times` is the ratio to ours."""

    peer: Told
    median: float
    best: float
    times: float | None


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def judged(timings: dict[str, dict[str, Timing]]) -> list[Verdict]:
    """What became of the goals; those of servers that were not run are left out."""
    verdicts = [judge(timings.get(CREATE_TOGETHER, {}), goal) for goal in GOALS]
    return [verdict for verdict in verdicts if verdict is not None]


def rows(compared: Compared, task: str) -> list[Row]:
    """The quickest first."""
    timings, told = compared.timings.get(task, {}), TASKS[task]
    ours = compared.timings.get(told.against, {}).get(told.ours)
    found = [
        Row(peer, timing.median, timing.best, _times(timing, ours))
        for peer in compared.peers
        if (timing := timings.get(peer.name)) is not None
    ]
    return sorted(found, key=lambda row: row.median)


def _times(timing: Timing, ours: Timing | None) -> float | None:
    """The median of the ratios within each round."""
    if ours is None:
        return None
    pairs = zip(timing.rounds, ours.rounds, strict=True)
    return statistics.median(theirs / mine for theirs, mine in pairs)


def told(verdict: Verdict) -> str:
    goal = verdict.goal
    kept = f"at most {goal.bound}: {'met' if verdict.met else 'MISSED'}"
    return f"{goal.contender} : {goal.baseline} = {verdict.ratio:.2f} ({kept})"


def show(compared: Compared) -> None:
    """Print it."""
    for task, known in TASKS.items():
        print(f"\n{known.title}\n{'':38}{'median µs':>12}{'best µs':>12}{'× ours':>10}")
        for row in rows(compared, task):
            times = "" if row.times is None else f"{row.times:10.2f}"
            print(f"  {row.peer.name:36}{row.median:12.2f}{row.best:12.2f}{times}")
    for verdict in compared.verdicts:
        print(f"  {told(verdict)}")
    for reason in compared.not_run:
        print(f"  not run: {reason}")
    sys.stdout.flush()
