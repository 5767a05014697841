"""A process that reads sessions all the time, and knows when it last found each of them live.

`python -m tests.logs.postgres.staleness.reading_child URL BOUND_SECONDS COLOUR RULES`. It takes
lines. `read TOKEN …` begins. `step SECONDS` sets its wall clock. `tell` answers, in JSON, when the
last read began that found each session live, in nanoseconds since the system was started. It also
counts reads and trips.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from datetime import timedelta

real_time_ns, offset = time.time_ns, [0]
time.time_ns = lambda: real_time_ns() + offset[0]

from sessionledger import AsyncSessionStore, LogUnavailable, SessionStore  # noqa: E402
from sessionledger.logs.postgres.staleness import confirmed_rows  # noqa: E402
from sessionledger.logs.postgres.staleness.cached_log import CachedPostgresLog  # noqa: E402

url, bound, colour, rules = sys.argv[1:]
last_live: dict[str, int] = {}
reads = 0

# Rules that are left out, which the checker has to find.
if rules == "no clocks":
    setattr(confirmed_rows.ConfirmedRows, "find", lambda self, key: self._rows.get(key))  # noqa: B010
if rules == "no hashes":
    found = lambda self, one: bool(one.events) and one.events[0].id == self.cursor  # noqa: E731
    setattr(confirmed_rows.ConfirmedRows, "_follows", found)  # noqa: B010


def read(store: SessionStore, tokens: list[str]) -> None:
    global reads
    while True:
        for token in tokens:
            begun = confirmed_rows.since_boot()
            try:
                if store.get(token) is not None:
                    last_live[token] = max(begun, last_live.get(token, 0))
            except LogUnavailable:
                pass
            reads += 1


async def read_async(tokens: list[str]) -> None:
    global reads
    async with AsyncSessionStore.open(url, max_staleness=most, timeout=wait) as store:
        logs.append(store._log)  # type: ignore[arg-type]
        while True:
            for token in tokens:
                begun = confirmed_rows.since_boot()
                try:
                    if await store.get(token) is not None:
                        last_live[token] = begun
                except LogUnavailable:
                    pass
                reads += 1


most, wait = timedelta(seconds=float(bound)), timedelta(seconds=2)
logs: list[CachedPostgresLog] = []
print("ready", flush=True)
for line in sys.stdin:
    asked, *words = line.split()
    if asked == "read" and colour == "sync":
        sync_store = SessionStore.open(url, max_staleness=most, timeout=wait)
        logs.append(sync_store._log)  # type: ignore[arg-type]
        for _ in range(2):
            threading.Thread(target=read, args=(sync_store, words), daemon=True).start()
    elif asked == "read":
        run = lambda tokens: asyncio.run(read_async(tokens))  # noqa: E731
        threading.Thread(target=run, args=(words,), daemon=True).start()
    elif asked == "step":
        offset[0] += round(float(words[0]) * 1e9)
    trips = sum(one._misses for one in logs)
    answer = {"last": last_live, "reads": reads, "trips": trips}
    print(json.dumps(answer) if asked == "tell" else "done", flush=True)
