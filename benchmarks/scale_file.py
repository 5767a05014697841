"""A million events in the file log, which reads all of them when it is first asked."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

from benchmarks.creating import create_alone, create_in_tasks
from benchmarks.filling import child
from benchmarks.rounds import Figure, Goal, Timing, measure
from benchmarks.scale import read_apart
from sessionledger import AsyncSessionStore, SessionStore, open_log

ALONE, TOGETHER = "create, one at a time", "create, 128 tasks"
GOALS = (Goal(TOGETHER, ALONE, 10, at_least=True),)


def scaling(folder: Path, count: int, rounds: int) -> tuple[dict[str, Timing], list[Figure]]:
    """What opening takes, and durable appends one at a time and together."""
    root = folder / "ledger"
    url = f"file://{root}"
    start = time.perf_counter()
    child("benchmarks.scale_filling", url, count)
    filling = count / (time.perf_counter() - start)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    reader = read_apart(url, count, reads=1)
    figures = [
        Figure("opening to the first answer", reader.opening / 1000, "s"),
        Figure("private memory once open", reader.memory, "MB"),
        Figure("size", size / count, "bytes an event"),
        Figure("filling", filling, "sessions a second"),
    ]
    with closing(open_log(url)) as log, asyncio.Runner() as runner:
        store, tasks = SessionStore(log), AsyncSessionStore(log)
        contenders = {
            ALONE: lambda: create_alone(store),
            TOGETHER: lambda: runner.run(create_in_tasks(tasks)),
        }
        timings = measure(contenders, rounds)
        runner.run(tasks.close())
    return timings, figures
