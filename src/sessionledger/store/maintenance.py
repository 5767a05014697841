"""Maintenance: rounds that keep a ledger bounded.

1. One process at a time. It has the log's lease for the whole round; the others leave it out.
2. In each topic that holds sessions an erasure is finished. It is swept, then compacted. An error
   in one topic does not keep the others from it.
3. A round may be told to stop between two steps. The next round finishes what is left.
4. The start of each finished round is recorded as a cursor. Every log keeps cursors, and every
   process can read them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import msgspec

from sessionledger.core.events import MARKS
from sessionledger.core.instant import microseconds
from sessionledger.core.lifetimes import parse_retention
from sessionledger.errors import InvalidSession, MaintenanceRunning, SessionLedgerError, StoreClosed
from sessionledger.logs.adapters.immediate import ImmediateLog, drive
from sessionledger.logs.base import Log
from sessionledger.logs.compaction.seal import KIND
from sessionledger.store.audit.reports import LAST_RUNS, SUCCEEDED, last_run
from sessionledger.store.engine import Engine, Folder
from sessionledger.store.erasure.rewriting import finish
from sessionledger.store.operations.compaction import Compacted, compact
from sessionledger.store.operations.sweep import rest_until, sweep_all
from sessionledger.store.session_fold import SessionFold
from sessionledger.store.telemetry.detection import telemetry_of
from sessionledger.store.telemetry.protocol import SILENT


class Maintained(msgspec.Struct, frozen=True, kw_only=True):
    """What a round of maintenance did, by topic.

    swept: how many sessions that lapsed were ended. compacted: what was removed; empty without a
    retention.
    """

    swept: dict[str, int]
    compacted: dict[str, Compacted]


class Maintenance:
    """Rounds over the ledger of a store. is_stopped: asked between two steps, in a thread.

    Raises `InvalidSession`.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        retention: timedelta | None,
        archive: Folder | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        if archive is not None and retention is None:
            raise InvalidSession("archive", "needs a retention: without one nothing is removed")
        self._archive = archive
        self._retention = None if retention is None else parse_retention(retention)
        self._engine = engine
        self._log = log
        self._cancelled = threading.Event()
        self._is_stopped = lambda: self._cancelled.is_set() or engine.closed or is_stopped()
        self._engines: dict[str, Engine] = {}

    async def maintain(self) -> Maintained | None:
        """One round; None while another process is at it. Raises the error of the first topic that
        has one, and tells `on_error` of the others."""
        try:
            done, errors = await self._engine.log.call(self._round)
        except MaintenanceRunning:
            return None
        except BaseException:
            self._cancelled.set()  # in its thread it goes on until the next step
            raise
        for error in errors[1:]:
            self._engine.report("maintain", error)
        if errors:
            raise errors[0]
        return done

    async def turn(self, interval: timedelta) -> Callable[[], float] | None:
        """A round, if no process began one within the interval, with what goes wrong reported.

        Answers what tells how many seconds are left until the next turn; None once it is stopped.
        """
        engine, left = self._engine, rest_until(interval)
        try:
            engine.check_open()
            last = last_run(await engine.cursors(LAST_RUNS))
            since = interval if last is None else engine.clock() - last.at
            # A round in the future is of a wrong clock, and does not count.
            if timedelta(0) <= since < interval:
                left = rest_until(interval - since)
            else:
                with engine.telemetry.call("maintain") as call:
                    call.answer(await self.maintain())
            if engine.telemetry is not SILENT:
                await engine.stats()
        except StoreClosed:
            return None
        except SessionLedgerError as error:
            engine.report("maintain", error)
        return left

    def _round(self) -> tuple[Maintained, list[SessionLedgerError]]:
        done, errors = Maintained(swept={}, compacted={}), list[SessionLedgerError]()
        began, log = microseconds(self._engine.clock()) // 1000, self._log.compactable()
        with nullcontext() if log is None else log.lease():
            for topic in self._log.topics():
                try:
                    self._maintain(topic, done)
                except (StoreClosed, MaintenanceRunning):
                    raise
                except SessionLedgerError as error:
                    error.add_note(f"in the topic {topic}")
                    errors.append(error)
            outcome = f"failed.{errors[0].code}" if errors else SUCCEEDED
            self._log.ack(LAST_RUNS, outcome, began)
        return done, errors

    def _maintain(self, topic: str, done: Maintained) -> None:
        """Sweep and compact a topic, in this thread, if it holds sessions."""
        engine = self.engine_of(topic)
        if engine is None:
            return
        finish(self._log, topic)
        done.swept[topic] = drive(sweep_all(engine))
        if self._retention is not None:
            check, archive = (lambda _: engine.check_open()), self._archive
            compacting = compact(engine, self._retention, progress=check, archive=archive)
            done.compacted[topic] = drive(compacting)

    def engine_of(self, topic: str) -> Engine | None:
        """The engine of a topic, for this thread; None for one that holds no sessions."""
        engine = self._engines.get(topic)
        if engine is None and self._holds_sessions(topic):
            telemetry = telemetry_of(self._log, topic)
            log = ImmediateLog(telemetry.log(self._log))
            engine = self._engine.beside(topic, log, telemetry, self._is_stopped)
            self._engines[topic] = engine
        return engine

    def _holds_sessions(self, topic: str) -> bool:
        """Whether the oldest event of a topic is one of sessions."""
        log, fold = self._log.compactable(), SessionFold(topic)
        return topic == self._engine.topic or any(
            event.kind == KIND or event.kind in MARKS or fold.key(event) is not None
            for event in self._log.read(topic, log.cut(topic).id if log else 0, 1)
        )
