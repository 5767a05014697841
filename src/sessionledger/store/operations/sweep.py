"""Sweeping: ending, in the log, what lapsed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from sessionledger.core.children import decide_ends_below
from sessionledger.core.ends import decide_sweep, sweepable_before
from sessionledger.core.events import Expired
from sessionledger.core.instant import from_milliseconds, microseconds, parse_instant
from sessionledger.core.lifetimes import parse_span
from sessionledger.core.session import Session
from sessionledger.core.token import handle_of
from sessionledger.errors import InvalidSession, SessionLedgerError, StoreClosed
from sessionledger.logs.base import OVER, Row, RowFilter, Unit
from sessionledger.logs.concurrency.waiting import NOTICE_SECONDS
from sessionledger.plain import as_number
from sessionledger.store.engine import Engine
from sessionledger.store.operations.active_sessions import ending
from sessionledger.store.operations.everybody import append_ends, end_marked
from sessionledger.store.session_fold import state_of
from sessionledger.store.steps import Step

BATCH = 1000


async def sweep(engine: Engine, now: object, limit: int) -> int:
    """End at most `limit` sessions that lapsed, or that a mark ended; how many were ended here.

    Who sweeps beside us ends others: each is ended once. Raises `ClockJumped`.
    """
    most = as_number(limit)
    if most is None or most < 1:
        raise InvalidSession("limit", "must be a whole number, 1 or more")
    at = engine.clock() if now is None else parse_instant("now", now)
    # These ends ask no clock.
    swept, after = await end_marked(engine, most), None
    await _check_clock(engine, at)
    lapsed = RowFilter(expires_before=microseconds(sweepable_before(at, engine.policy)))
    while swept < most:
        rows = await engine.log.rows(engine.topic, lapsed, after, min(BATCH, most - swept))
        if not rows:
            break
        swept += await _end(engine, rows, at)
        after = rows[-1]
    return swept


async def sweep_all(engine: Engine) -> int:
    """Sweep until nothing is left; how many were ended. Raises `StoreClosed`, and as `sweep`."""
    swept, ended = 0, BATCH
    while ended == BATCH:
        engine.check_open()
        ended = await sweep(engine, None, BATCH)
        swept += ended
    return swept


async def turn(engine: Engine, interval: object) -> Callable[[], float] | None:
    """Sweep until nothing is left, and report what went wrong.

    Answers what tells how many seconds are left until the next turn; None once the store is closed.
    """
    left = rest_until(interval)
    try:
        await sweep_all(engine)
    except StoreClosed:
        return None
    except SessionLedgerError as error:
        engine.report("sweep", error)
    return left


def rest_until(interval: object) -> Callable[[], float]:
    """What tells, each time it is asked, how many seconds are left until the next round, at most
    as many as a store that is closed may go unnoticed. Raises `InvalidSession`."""
    end = time.monotonic() + parse_span("interval", interval).total_seconds()
    return lambda: min(end - time.monotonic(), NOTICE_SECONDS)


async def _end(engine: Engine, rows: list[Row], now: datetime) -> int:
    written = engine.clock()
    units = [unit for row in rows if (unit := _unit(engine, row, now, written)) is not None]
    return await append_ends(engine, units)


def _unit(engine: Engine, row: Row, now: datetime, written: datetime) -> Unit | None:
    event = decide_sweep(state_of(row), handle_of(row.key), now, engine.policy)
    if event is None:
        return None
    rule = None
    if row.group is not None:

        def choose(tree: Sequence[Session]) -> list[Expired]:
            return decide_ends_below(tree, [event.token_handle], written)

        rule = ending(engine, RowFilter(group=row.group, live_at=OVER), choose, written, {})
    unit, _ = engine.unit([Step(event, {}, row.key, row)], written, rule=rule)
    return unit


async def _check_clock(engine: Engine, now: datetime) -> None:
    id, newest = await engine.newest()
    at = from_milliseconds(0 if newest is None else newest.occurred_at_ms)
    engine.telemetry.compared(engine.clock_watch.difference(id, at))
    engine.clock_watch.check(now, id, at)
