"""The flow, written once, in the asynchronous colour; both stores are thin shells over it.

Over an embedded log none of these coroutines suspends before its append. Over `ImmediateLog` none
suspends at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from os import PathLike
from time import time_ns
from typing import TYPE_CHECKING, Never, TypeAlias, cast

import msgspec

from sessionledger.core.annotations import annotate, with_context
from sessionledger.core.codec import decode_event, decode_session
from sessionledger.core.events import RESTORED, Restored
from sessionledger.core.instant import microseconds, parse_instant
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session, State
from sessionledger.core.token import (
    digest,
    handle_of,
    parse_handle,
    parse_token,
)
from sessionledger.errors import (
    CorruptLog,
    InvalidSession,
    LedgerRestored,
    SessionLedgerError,
    StoreClosed,
    WriteContention,
)
from sessionledger.findings import Examining, Finding, worst_first
from sessionledger.logs import chain
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.base import (
    Appended,
    Change,
    Conflict,
    KeyState,
    Progress,
    Row,
    RowFilter,
    Rule,
    StoredEvent,
    Unit,
)
from sessionledger.logs.compaction.contract import WHOLE, Cut
from sessionledger.secrecy import clear_locals
from sessionledger.store.audit.reports import LedgerHead, Stats
from sessionledger.store.clock import Clock, ClockWatch, Monotonic, system_clock, system_monotonic
from sessionledger.store.session_fold import SessionFold
from sessionledger.store.steps import Step, prepare, refuse_forgotten
from sessionledger.store.telemetry.protocol import SILENT, Telemetry

if TYPE_CHECKING:  # few ledgers have a seal, and few stores count what happens
    from sessionledger.logs.compaction.seal import Seal
    from sessionledger.store.history.activity import Counted
    from sessionledger.store.operations.listings import Counts

SESSIONS_TOPIC = "orchestrator.sessions"
MAX_ATTEMPTS = 1024
EVENT_PAGE = 1000

Folder: TypeAlias = str | PathLike[str]
OnError: TypeAlias = Callable[[SessionLedgerError], None]
"""Told of an error that did not keep a call from being answered."""


class Annotation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a caller says beside a command."""

    reason: object = None
    actor: object = None
    context: Mapping[str, str] | None = None


NO_ANNOTATION = Annotation()


class Written(msgspec.Struct, frozen=True):
    """A unit that was appended: the session after each step that was decided on a row."""

    sessions: list[Session | None]
    appended: Appended


def log_error(error: SessionLedgerError) -> None:
    """What is done with an error that nobody asked to be told of."""
    import logging  # a tenth of what importing all else takes, and few are told

    logging.getLogger("sessionledger").warning("%s: %s", error.code, error)


def _last_kept(restored: StoredEvent) -> int:
    """The last event before those that were lost, 0 where the event does not say it."""
    told = decode_event(RESTORED, restored.payload)
    return told.after if isinstance(told, Restored) else 0


def contention(key: bytes) -> WriteContention:
    """What is raised where others were faster each time."""
    return WriteContention(
        f"{handle_of(key)} was changed by others {MAX_ATTEMPTS} times in a row: try again"
    )


def _counting(clock: Clock) -> Callable[[], int]:
    """The clock as nanoseconds since 1970 UTC, which is how the system counts."""
    return lambda: microseconds(parse_instant("clock", clock())) * 1000


class Engine:
    """Sessions on one topic of a log."""

    def __init__(
        self,
        log: ImmediateLog,
        topic: str,
        policy: Policy,
        clock: Clock = system_clock,
        monotonic: Monotonic | None = None,
        on_error: OnError | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.closed = False
        self.is_stopped: Callable[[], bool] = lambda: False
        self.log = log
        self.topic = topic
        self.policy = policy
        # The system's time is a plain aware datetime as it is.
        self.clock = clock if clock is system_clock else lambda: parse_instant("clock", clock())
        self._nanoseconds = None if clock is system_clock else _counting(clock)
        if monotonic is None and clock is system_clock:
            monotonic = system_monotonic
        self.clock_watch = ClockWatch(self.clock, monotonic)
        self.telemetry = telemetry
        self._on_error: OnError = log_error if on_error is None else on_error
        self.fold = SessionFold(topic)
        self.counted: Counted | None = None
        self.counts: tuple[float, Counts] | None = None
        log.fold_with(topic, self.fold)

    def nanoseconds(self) -> int:
        """The present instant, in nanoseconds since 1970 UTC."""
        return time_ns() if self._nanoseconds is None else self._nanoseconds()

    def report(self, during: str, error: SessionLedgerError) -> None:
        """Tell of an error that did not keep a call from being answered."""
        error.__traceback__ = clear_locals(error)
        self.telemetry.failed(during, error)
        self._on_error(error)

    def close(self) -> None:
        """What still runs on this engine ends, also where its log stays open."""
        self.closed = True

    def beside(
        self, topic: str, log: ImmediateLog, telemetry: Telemetry, is_stopped: Callable[[], bool]
    ) -> Engine:
        """The engine of a topic of the same ledger, which is not open once it is stopped."""
        one = Engine.__new__(Engine)
        vars(one).update(vars(self))
        one.log, one.topic, one.telemetry, one.is_stopped = log, topic, telemetry, is_stopped
        if topic != self.topic:
            one.clock_watch, one.fold = self.clock_watch.beside(), SessionFold(topic)
            one.counted = None
            log.fold_with(topic, one.fold)
        return one

    def check_open(self) -> None:
        """Raises `StoreClosed` once the store is closed."""
        if self.closed or self.is_stopped():
            raise StoreClosed("the store is closed")

    def live(self, found: KeyState | None, now: object) -> Session | None:
        """The session in a version, end and state, if it is live now, or at a given instant."""
        if now is not None:
            at = microseconds(parse_instant("now", now)) * 1000
        else:
            # Looked up each time: tests freeze time by replacing it.
            at = time_ns() if self._nanoseconds is None else self._nanoseconds()
        if found is None or found[1] * 1000 <= at:
            return None
        return decode_session(found[0], found[2])

    async def find(self, handle: object, now: object = None) -> Session | None:
        return self.live(await self.log.state(self.topic, parse_handle(handle)), now)

    def named(self, call: str, token: object, handle: object) -> tuple[bytes, str | None]:
        """The key of the session that is meant, and its token where that is how it was named."""
        if (token is None) == (handle is None):
            raise InvalidSession("token", f"or handle: {call} takes one of them")
        if token is None:
            return parse_handle(handle), None
        secret = parse_token(token, self.policy)
        return digest(secret), secret

    def annotate(self, annotation: Annotation) -> dict[str, str]:
        """Reason, actor and context as headers. Raises `InvalidSession`."""
        return annotate(annotation.reason, annotation.actor, annotation.context, self.policy)

    async def commit_one(
        self,
        step: Step,
        now: datetime,
        secret: str | None = None,
        reads: Sequence[tuple[bytes, int]] = (),
    ) -> Session | Conflict | None:
        """Append a step that was decided on a row, alone: the session after it, if there is one."""
        change, state = prepare(step, microseconds(now) // 1000, secret)
        (outcome,) = await self.log.append(self.topic, (Unit((change,), reads),))
        if isinstance(outcome, Conflict):
            refuse_forgotten(outcome)
            return outcome
        return _versioned(state, outcome.ids[0])

    async def commit(
        self,
        steps: Sequence[Step],
        now: datetime,
        secret: str | None = None,
        reads: Sequence[tuple[bytes, int]] = (),
        rule: Rule | None = None,
    ) -> Written | Conflict:
        """Append the steps as one unit, after what the rule decides."""
        unit, states = self.unit(steps, now, secret, reads, rule)
        (outcome,) = await self.log.append(self.topic, [unit])
        if isinstance(outcome, Conflict):
            refuse_forgotten(outcome)
            return outcome
        ids = outcome.ids[len(outcome.ruled) :]
        sessions = [_versioned(state, id) for state, id in zip(states, ids, strict=True)]
        return Written(sessions, outcome)

    def unit(
        self,
        steps: Sequence[Step],
        now: datetime,
        secret: str | None = None,
        reads: Sequence[tuple[bytes, int]] = (),
        rule: Rule | None = None,
    ) -> tuple[Unit, list[State]]:
        """The steps as they are appended, and the state after each that was decided on a row."""
        at = microseconds(now) // 1000
        changes: list[Change] = []
        states: list[State] = []
        for step in steps:
            change, state = prepare(step, at, secret)
            if change.put is None:
                self.fold.remember(change.event, with_context(step.event, step.headers))
            changes.append(change)
            states.append(state)
        return Unit(changes, reads=reads, rule=rule), states

    async def rows(self, where: RowFilter) -> AsyncIterator[Row]:
        """All rows of an owner or an alias, page by page; not for as long as others are begun."""
        after: Row | None = None
        while page := await self.log.rows(self.topic, where, after, EVENT_PAGE):
            for row in page:
                yield row
            if len(page) < EVENT_PAGE:
                return
            after = page[-1]

    async def events(self, after: int, limit: int) -> list[StoredEvent]:
        """Raises `LedgerRestored` for an event that was lost when a backup was restored."""
        events = await self.log.read(self.topic, after, limit)
        if events and events[0].kind == RESTORED and (last := _last_kept(events[0])) < after:
            raise LedgerRestored(last)
        return events

    async def pages(self, after: int) -> AsyncIterator[list[StoredEvent]]:
        """All events with an id above `after`, page by page, as in `events`."""
        while page := await self.events(after, EVENT_PAGE):
            yield page
            after = page[-1].id

    async def head(self) -> LedgerHead:
        latest, newest = await self.newest()
        hash = None if newest is None else chain.head_after(newest).hash
        return LedgerHead(self.topic, latest, hash)

    async def newest(self) -> tuple[int, StoredEvent | None]:
        """The newest id, 0 in an empty topic, and its event; None where it is not there."""
        latest = await self.log.latest(self.topic)
        events = await self.log.read(self.topic, latest - 1, 1) if latest else []
        return latest, events[0] if events else None

    async def cut(self) -> Cut:
        """Up to where events were removed."""
        log = self.log.log.compactable()
        return WHOLE if log is None else await self.log.call(log.cut, self.topic)

    async def seal(self, cut: Cut) -> Seal:
        """What the seal of a cut says. Raises `CorruptLog`."""
        from sessionledger.logs.compaction.seal import read_seal

        sealed = await self.log.read(self.topic, cut.seal - 1, 1)
        if not sealed:
            raise CorruptLog(f"the seal {cut.seal} of the removed events is not there")
        return read_seal(sealed[0])

    async def cursors(self, topic: str) -> dict[str, int]:
        """The cursors of a topic by their consumers."""
        log = self.log.log.compactable()
        return {} if log is None else await self.log.call(log.cursors, topic)

    async def base_row(self, key: bytes) -> Row | None:
        """The row of a key as of the cut; None for a key that was begun after it."""
        log = self.log.log.compactable()
        return None if log is None else await self.log.call(log.base_row, self.topic, key)

    async def rebuild(self, progress: Progress | None) -> int:
        return await self.log.rebuild(self.topic, progress)

    async def diagnose(self, progress: Examining | None) -> list[Finding]:
        from sessionledger.store.audit.diagnosis import session_check  # few stores ever do

        check = session_check(self.topic, self.nanoseconds() // 1_000_000, progress)
        return worst_first(await self.log.examine(self.topic, check))

    async def stats(self) -> Stats:
        from sessionledger.store.audit.statistics import statistics  # few stores ever ask

        stats = await statistics(self)
        self.telemetry.counted(stats)
        return stats


class _NoEngine:
    """Stands where an engine would, and refuses whatever is asked of it."""

    def __init__(self, why: str) -> None:
        self._why = why

    def close(self) -> None:
        """Nothing: it never was open."""

    def __getattr__(self, name: str) -> Never:
        raise StoreClosed(self._why)


def no_engine(why: str) -> Engine:
    """The engine of a store that is not open: every use raises `StoreClosed`."""
    return cast(Engine, _NoEngine(why))


def _versioned(state: State, version: int) -> Session | None:
    """The session with its version, set in place: nobody else knows the state yet."""
    if not isinstance(state, Session):
        return None
    msgspec.structs.force_setattr(state, "version", version)
    return state
