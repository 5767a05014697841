"""Ending logins that were rotated often: it costs what ending a fresh one does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.rounds import Goal, Timing, measure
from sessionledger import Policy, SessionStore
from sessionledger.testing.clock import Clock

ROTATIONS = 40_000
FEW, MANY = "end a family of two", f"end one after {ROTATIONS:,} rotations"
GOALS = (Goal(MANY, FEW, 3.0),)
# So far apart that what was superseded lapsed, and the minute's limit is never reached.
BETWEEN = timedelta(seconds=70)
POLICY = Policy(ttl=timedelta(days=400))


def ending(folder: Path, backend: str, rounds: int) -> dict[str, Timing]:
    """Microseconds for each durable end of a family."""
    url = f"{backend}:///{folder / backend}"
    clock = Clock(datetime.now(UTC) - timedelta(days=365))
    with SessionStore.open(url, policy=POLICY, clock=clock, durability="normal") as store:
        few, many = (
            [_family(store, clock, rotations) for _ in range(rounds + 1)]
            for rotations in (1, ROTATIONS)
        )
    with SessionStore.open(url, clock=clock) as store:
        contenders: dict[str, Callable[[], int]] = {
            FEW: lambda: _end(store, few.pop()),
            MANY: lambda: _end(store, many.pop()),
        }
        return measure(contenders, rounds)


def _family(store: SessionStore, clock: Clock, rotations: int) -> str:
    """The handle of the newest session of a family."""
    issued = store.create("alice")
    for _ in range(rotations):
        clock.advance(BETWEEN)
        rotated = store.rotate(issued.token)
        assert rotated is not None
        issued = rotated
    return issued.handle


def _end(store: SessionStore, handle: str) -> int:
    ended = store.revoke(handle=handle)
    assert ended is not None
    assert ended.ended_at is not None
    return 1
