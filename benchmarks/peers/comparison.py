"""All peers, each in its own process, in interleaved rounds."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.peers.contender import (
    CREATE,
    CREATE_BATCH,
    CREATE_TOGETHER,
    EACH,
    LIST,
    REVOKE,
    TOGETHER,
    VALIDATE,
    Place,
)
from benchmarks.peers.outcome import Compared, judged, now
from benchmarks.peers.running import PROJECT, Failed, Process
from benchmarks.peers.servers import Running, running_servers
from benchmarks.peers.telling import Told
from benchmarks.rounds import Timing

ENVIRONMENT = PROJECT / ".venv-bench"
SESSIONS = 10_000


class Entry(msgspec.Struct, frozen=True):
    """Who takes part, by module and variant, and the server that it needs."""

    module: str
    variant: str
    needs: str | None = None


ROSTER = (
    Entry("bare", "dictionary"),
    Entry("bare", "sqlite"),
    Entry("bare", "fdatasync"),
    Entry("ours", "get"),
    Entry("ours", "authenticate"),
    Entry("ours", "async"),
    Entry("ours", "async authenticate"),
    Entry("signed", "pyjwt"),
    Entry("signed", "pyjwt-2.10.1"),
    Entry("signed", "joserfc"),
    Entry("signed", "itsdangerous"),
    Entry("signed", "starlette"),
    Entry("django_peers", "signed_cookies"),
    Entry("django_peers", "db"),
    Entry("django_peers", "cached_db"),
    Entry("django_peers", "knox"),
    Entry("starsessions_peers", "memory"),
    Entry("starsessions_peers", "redis", "redis"),
    Entry("redis_peers", "flask", "redis"),
    Entry("redis_peers", "litestar", "redis"),
    Entry("redis_peers", "sync", "redis"),
    Entry("redis_peers", "pool", "redis"),
    Entry("redis_peers", "pipelined", "redis"),
    Entry("fastapi_users_peer", "database"),
    Entry("eventsourcing_peer", "sqlite"),
    Entry("postgres_peers", "sync", "postgres"),
    Entry("postgres_peers", "pool", "postgres"),
    Entry("postgres_peers", "batched", "postgres"),
    Entry("jetstream_peer", "single", "nats"),
    Entry("jetstream_peer", "batched", "nats"),
)


class Bounds(msgspec.Struct, frozen=True):
    """How long a run of a task should take, and how many operations it may have."""

    seconds: float
    least: int
    most: int
    step: int = 1


BOUNDS = {
    VALIDATE: Bounds(0.04, 50, 10_000),
    CREATE: Bounds(0.04, 20, 100),
    CREATE_TOGETHER: Bounds(0.08, TOGETHER, 8 * TOGETHER, TOGETHER),
    CREATE_BATCH: Bounds(0.08, TOGETHER, 8 * TOGETHER, TOGETHER),
    LIST: Bounds(0.03, 20, 1_000),
    REVOKE: Bounds(0.03, 10, 20),
}


def compare(folder: Path, rounds: int, sessions: int = SESSIONS) -> Compared:
    """One round runs every task of every peer once, in random order."""
    if not (ENVIRONMENT / "bin" / "python").exists():
        reason = "all peers: `make bench` installs what they need"
        return Compared(now(), sessions, [], {}, [reason])
    with running_servers(folder, ENVIRONMENT) as servers, ExitStack() as stack:
        not_run = list(servers.missing.values())
        peers: list[tuple[Told, Process]] = []
        for entry, process in _started(folder, servers, sessions, stack):
            try:
                peers.append((process.told(), process))
            except Failed as failure:
                not_run.append(f"{entry.module} ({entry.variant}): {failure}")
        timings = _rounds(peers, rounds, _revocations(sessions, rounds))
    told = [one for one, _ in peers]
    return Compared(now(), sessions, told, timings, not_run, judged(timings))


def _started(
    folder: Path, servers: Running, sessions: int, stack: ExitStack
) -> list[tuple[Entry, Process]]:
    """All whose server runs, preparing themselves side by side; no time is taken yet."""
    places = {name: value for told in servers.places.values() for name, value in told.items()}
    started = []
    for entry in ROSTER:
        if entry.needs in servers.missing:
            continue
        at = folder / f"{entry.module}-{entry.variant}"
        at.mkdir()
        place = msgspec.convert({"folder": str(at), "sessions": sessions, **places}, Place)
        process = Process(ENVIRONMENT, entry.module, entry.variant, place)
        stack.callback(process.close)
        started.append((entry, process))
    return started


def _revocations(sessions: int, rounds: int) -> int:
    """How many principals may be revoked a round: half of all, less one for the proof."""
    return (sessions // EACH // 2 - 1) // (rounds + 2)


def _rounds(
    peers: list[tuple[Told, Process]], rounds: int, revocations: int
) -> dict[str, dict[str, Timing]]:
    runs = [(told.name, process, task) for told, process in peers for task in told.tasks]
    times = {(name, task): _calibrated(process, task, revocations) for name, process, task in runs}
    figures: dict[str, dict[str, list[float]]] = {task: {} for task in BOUNDS}
    for _ in range(rounds):
        for name, process, task in random.sample(runs, len(runs)):
            count = times[name, task]
            seconds = process.run(task, count)
            figures[task].setdefault(name, []).append(seconds / count * 1e6)
    order = [told.name for told, _ in peers]
    return {
        task: {name: Timing(found[name]) for name in order if name in found}
        for task, found in figures.items()
    }


def _calibrated(process: Process, task: str, revocations: int) -> int:
    """How many operations make a run of about the length it should have; warms up besides."""
    bounds = BOUNDS[task]
    if task == REVOKE:
        process.run(task, min(bounds.least, revocations))
        return min(bounds.most, revocations)
    process.run(task, bounds.least)
    each = process.run(task, bounds.least) / bounds.least
    fitting = max(bounds.least, min(bounds.most, int(bounds.seconds / each)))
    count = fitting // bounds.step * bounds.step
    process.run(task, count)
    return count
