"""The flow, written once, in the asynchronous colour; both stores are thin shells over it.

Over an embedded log none of these coroutines suspends before its append, and over `Inline` none
suspends at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from os import urandom
from time import time_ns
from typing import Never, TypeAlias, cast

import msgspec

from sessionledger.core import decide
from sessionledger.core.annotations import annotate, refuse_secrets
from sessionledger.core.codec import decode_session, encode_event
from sessionledger.core.events import SessionEvent
from sessionledger.core.fold import evolve
from sessionledger.core.history import HistoryEntry, narrate
from sessionledger.core.instant import microseconds, parse_instant
from sessionledger.core.policy import Policy
from sessionledger.core.session import IssuedSession, Session, State
from sessionledger.core.token import (
    TOKEN_RANDOM_BYTES,
    digest,
    handle_of,
    issue,
    parse_handle,
    parse_token,
)
from sessionledger.errors import InvalidSession, StoreClosed, WriteContention
from sessionledger.logs import chain
from sessionledger.logs.base import (
    Appended,
    AsyncLog,
    Change,
    KeyState,
    LogEvent,
    Progress,
    Put,
    Row,
    StoredEvent,
    Unit,
)
from sessionledger.logs.chain import Break, Head
from sessionledger.store.audit import LedgerHead, Stats, Verification, missing_head, parse_head
from sessionledger.store.pages import PAGE_SIZE, Page, check_size, cursor_of, row_at
from sessionledger.store.table import (
    SessionFold,
    draft_of,
    session_of,
    state_of,
)

SESSIONS_TOPIC = "orchestrator.sessions"
MAX_ATTEMPTS = 1024
EVENT_PAGE = 1000

Clock: TypeAlias = Callable[[], datetime]
"""Answers the present instant, aware."""

Decide: TypeAlias = Callable[[State], SessionEvent | None]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says beside a command."""

    reason: object = None
    actor: object = None
    context: Mapping[str, str] | None = None


NOTHING_SAID = Why()

# Whom one asks about may be anyone that others, the reference above all, made sessions for.
_ANY = Policy.reference()


def system_clock() -> datetime:
    """The system's time, in UTC."""
    return datetime.now(UTC)


def _counting(clock: Clock) -> Callable[[], int]:
    """The clock as nanoseconds since 1970 UTC, which is how the system counts."""
    return lambda: microseconds(parse_instant("clock", clock())) * 1000


class Engine:
    """Sessions on one topic of a log."""

    def __init__(self, log: AsyncLog, topic: str, policy: Policy, clock: Clock) -> None:
        self.log = log
        self.topic = topic
        self.policy = policy
        self.clock: Clock = lambda: parse_instant("clock", clock())
        self.nanoseconds = time_ns if clock is system_clock else _counting(clock)
        log.fold_with(topic, SessionFold())

    async def create(
        self, command: decide.Create, token: object = None, why: Why = NOTHING_SAID
    ) -> IssuedSession:
        if token is None:
            secret, given = issue(urandom(TOKEN_RANDOM_BYTES)), None
        else:
            secret = given = parse_token(token, self.policy)
        key, now = digest(secret), self.clock()
        handle = handle_of(key)

        def decision(state: State) -> SessionEvent:
            return decide.decide_create(state, handle, command, now, self.policy)

        # A new token has no row; one that was used before shows as a conflict.
        session = await self._carry_out(key, None, decision, now, why, given)
        assert session is not None
        return IssuedSession.of(session, secret)

    def check_open(self) -> None:
        """Nothing: it is what stands for the engine of a closed store that raises."""

    def live(self, found: KeyState | None, now: object) -> Session | None:
        """The session in a version, end and state, if it is live now, or at a given instant."""
        at = self.nanoseconds() if now is None else microseconds(parse_instant("now", now)) * 1000
        if found is None:
            return None
        version, until, state = found
        return decode_session(version, state) if until * 1000 > at else None

    async def find(self, handle: object, now: object = None) -> Session | None:
        return self.live(await self.log.state(self.topic, parse_handle(handle)), now)

    async def touch(
        self, token: object, command: decide.Touch, why: Why = NOTHING_SAID
    ) -> Session | None:
        secret = parse_token(token, self.policy)
        key, now = digest(secret), self.clock()
        handle = handle_of(key)
        touched = False

        def decision(state: State) -> SessionEvent | None:
            nonlocal touched
            event = decide.decide_touch(state, handle, command, now, self.policy)
            touched = event is not None
            return event

        row = await self.log.row(self.topic, key)
        session = await self._carry_out(key, row, decision, now, why, secret)
        return session if touched else None

    async def expire(
        self, token: object, command: decide.Expire, why: Why = NOTHING_SAID
    ) -> Session | None:
        secret = parse_token(token, self.policy)
        return await self._end(digest(secret), command, why, secret)

    async def revoke(
        self, handle: object, command: decide.Expire, why: Why = NOTHING_SAID
    ) -> Session | None:
        return await self._end(parse_handle(handle), command, why, None)

    async def _end(
        self, key: bytes, command: decide.Expire, why: Why, secret: str | None
    ) -> Session | None:
        handle, now = handle_of(key), self.clock()

        def decision(state: State) -> SessionEvent | None:
            return decide.decide_expire(state, handle, command, now)

        row = await self.log.row(self.topic, key)
        return await self._carry_out(key, row, decision, now, why, secret)

    async def _carry_out(
        self,
        key: bytes,
        row: Row | None,
        decision: Decide,
        now: datetime,
        why: Why,
        secret: str | None,
    ) -> Session | None:
        """Decide on the row, append, and decide again on whatever row was in the way.

        The session afterwards, whether or not anything had to be appended; None where the key
        never had one.
        """
        headers = annotate(why.reason, why.actor, why.context, self.policy)
        for _ in range(MAX_ATTEMPTS):
            state = state_of(row)
            event = decision(state)
            if event is None:
                return session_of(row)
            kind, payload = encode_event(event)
            refuse_secrets(secret, payload, headers)
            after = evolve(state, event)
            assert after is not None
            put = Put(key, draft_of(after), 0 if row is None else row.version)
            change = Change(LogEvent(kind, payload, headers, microseconds(now) // 1000), put)
            outcome = (await self.log.append(self.topic, [Unit([change])]))[0]
            if isinstance(outcome, Appended):
                return _versioned(after, outcome.ids[0])
            row = outcome.current
        raise WriteContention(
            f"{handle_of(key)} was changed by others {MAX_ATTEMPTS} times in a row: try again"
        )

    async def history(self, handle: object = None, principal: object = None) -> list[HistoryEntry]:
        if (handle is None) == (principal is None):
            raise InvalidSession("handle", "or principal: history takes one of them")
        if handle is not None:
            return await self._history_of(parse_handle(handle))
        owner = decide.parse_principal(principal, _ANY)
        entries: list[HistoryEntry] = []
        async for row in self._rows(owner):
            entries += await self._history_of(row.key)
        return sorted(entries, key=lambda entry: entry.event_id)

    async def _rows(self, owner: str) -> AsyncIterator[Row]:
        after: Row | None = None
        while rows := await self.log.rows(self.topic, owner=owner, after=after, limit=EVENT_PAGE):
            for row in rows:
                yield row
            after = rows[-1]

    async def _history_of(self, key: bytes) -> list[HistoryEntry]:
        events: list[StoredEvent] = []
        while page := await self.log.read_key(
            self.topic, key, events[-1].id if events else 0, EVENT_PAGE
        ):
            events += page
        return list(narrate(handle_of(key), events))

    async def page(
        self, principal: object, live: bool, after: str | None, size: int = PAGE_SIZE
    ) -> Page:
        owner = None if principal is None else decide.parse_principal(principal, _ANY)
        live_at = microseconds(self.clock()) if live else None
        # One more than is shown, to know whether another page follows.
        limit = check_size(size) + 1
        found = await self.log.rows(
            self.topic, owner=owner, live_at=live_at, after=row_at(after), limit=limit
        )
        rows = found[:size]
        sessions = [session for row in rows if (session := session_of(row)) is not None]
        return Page(sessions, cursor_of(rows[-1]) if len(found) > size else None)

    async def count(self, principal: object, live: bool) -> int:
        owner = None if principal is None else decide.parse_principal(principal, _ANY)
        live_at = microseconds(self.clock()) if live else None
        return await self.log.count(self.topic, owner=owner, live_at=live_at)

    async def events(self, after: int, limit: int) -> list[StoredEvent]:
        return await self.log.read(self.topic, after, limit)

    async def head(self) -> LedgerHead:
        latest = await self.log.latest(self.topic)
        events = await self.log.read(self.topic, latest - 1, 1) if latest else []
        hash = chain.head_after(events[0]).hash if events else None
        return LedgerHead(self.topic, latest, hash)

    async def verify(self, expect: str | None, progress: Progress | None) -> Verification:
        expected = Head(0, None) if expect is None else parse_head(expect, self.topic)
        head, held, found = chain.EMPTY, 0, None
        broken: Break | None = None
        while broken is None and (events := await self.events(head.id, EVENT_PAGE)):
            found = _at(expected.id, events) or found
            verdict = chain.verify(self.topic, events, head)
            if isinstance(verdict, Break):
                broken = verdict
                held += sum(event.id < broken.id for event in events)
            else:
                head, held = verdict, held + len(events)
            if progress is not None:
                progress(held)
        broken = broken or missing_head(expected, found)
        return Verification(LedgerHead(self.topic, head.id, head.hash), held, broken)

    async def rebuild(self, progress: Progress | None) -> int:
        return await self.log.rebuild(self.topic, progress)

    async def stats(self) -> Stats:
        return Stats(
            topic=self.topic,
            events=await self.log.latest(self.topic),
            sessions=await self.count(None, live=False),
            live=await self.count(None, live=True),
            log=await self.log.describe(),
        )


class _NoEngine:
    """Stands where an engine would, and refuses whatever is asked of it."""

    def __init__(self, why: str) -> None:
        self._why = why

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


def _at(id: int, events: list[StoredEvent]) -> Head | None:
    return next((chain.head_after(event) for event in events if event.id == id), None)
