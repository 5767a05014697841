"""The asynchronous store: for event loops, one or several in a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from sessionledger.core.decide import Create, Expire, Touch
from sessionledger.core.history import HistoryEntry
from sessionledger.core.policy import Policy
from sessionledger.core.session import IssuedSession, Session
from sessionledger.core.token import digest, parse_token
from sessionledger.logs.base import Log, Progress, StoredEvent
from sessionledger.logs.bridge import Threaded
from sessionledger.logs.url import open_log
from sessionledger.store.audit import LedgerHead, Stats, Verification
from sessionledger.store.engine import (
    EVENT_PAGE,
    SESSIONS_TOPIC,
    Clock,
    Engine,
    Why,
    no_engine,
    system_clock,
)
from sessionledger.store.pages import PAGE_SIZE, Page


class AsyncSessions:
    """A listing of sessions: iterate it, or take it `.pages()` by page."""

    def __init__(
        self, engine: Engine, principal: str | None, live: bool, after: str | None, page_size: int
    ) -> None:
        self._engine = engine
        self._principal = principal
        self._live = live
        self._after = after
        self._page_size = page_size

    async def pages(self) -> AsyncIterator[Page]:
        """Page by page; `Page.cursor` given as `after=` goes on where it ended."""
        cursor, more = self._after, True
        while more:
            page = await self._engine.page(self._principal, self._live, cursor, self._page_size)
            cursor, more = page.cursor, page.cursor is not None
            yield page

    async def __aiter__(self) -> AsyncIterator[Session]:
        async for page in self.pages():
            for session in page.sessions:
                yield session


class AsyncSessionStore:
    """Sessions on a ledger. One store serves several event loops.

    Times are aware datetimes, spans are timedeltas. Methods that take a token raise
    `InvalidSession` for a text that can't be one, and answer None for a session that is unknown,
    expired or revoked. All raise `LogUnavailable` when the storage refuses and `StoreClosed`
    after `close`. `reason`, `actor` and `context` are kept with the event and shown by `history`;
    they must hold no secret.
    """

    def __init__(
        self,
        log: Log,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        topic: str = SESSIONS_TOPIC,
    ) -> None:
        """A store on a log that is open already, and that stays open when the store is closed."""
        self._settle(policy, clock, topic)
        self._attach(log)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        durability: str = "full",
        topic: str = SESSIONS_TOPIC,
    ) -> AsyncSessionStore:
        """The ledger at an address: `memory:` or `sqlite:///path`. `async with` opens it.

        durability: "full" answers after fsync; "normal" survives the process but not a power loss.
        Entering raises `InvalidURL`, `LogUnavailable`, `NotALedger`, `UnsupportedSchema`.
        """
        store = cls.__new__(cls)
        store._settle(policy, clock, topic)  # noqa: SLF001
        store._connect = lambda: open_log(url, durability=durability)  # noqa: SLF001
        return store

    def _settle(self, policy: Policy | None, clock: Clock | None, topic: str) -> None:
        self._policy = policy or Policy()
        self._clock = clock or system_clock
        self._topic = topic
        self._connect: Callable[[], Log] | None = None
        self._bridge: Threaded | None = None
        self._engine = no_engine("the store is not open yet: `async with store:` opens it")

    def _attach(self, log: Log) -> None:
        self._log = log
        self._bridge = Threaded(log)
        self._engine = Engine(self._bridge, self._topic, self._policy, self._clock)

    async def __aenter__(self) -> AsyncSessionStore:
        if self._connect is not None and self._bridge is None:
            log = await asyncio.to_thread(self._connect)
            try:
                self._attach(log)
            except BaseException:
                log.close()
                raise
            await self._catch_up()
        self._engine.check_open()
        return self

    async def _catch_up(self) -> None:
        """Fold what others appended here, in a thread, and not at the first read, in the loop."""
        try:
            await asyncio.to_thread(self._log.owner_version, self._topic, "")
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def create(
        self,
        principal: str,
        *,
        token: str | None = None,
        created_at: datetime | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> IssuedSession:
        """Begin a session and answer it with its token, this once.

        Without `token` a new one is made, which is better: a guessable one can be tried offline
        against a stolen ledger. The session ends at `expires_at`, or `ttl` after `created_at`, or
        as the policy says. Raises `InvalidSession`, and `DuplicateSession` for a used token.
        """
        command = Create(
            principal=principal,
            created_at=created_at,
            expires_at=expires_at,
            ttl=ttl,
            attributes=attributes,
        )
        why = Why(reason=reason, actor=actor, context=context)
        return await self._engine.create(command, token, why)

    async def get(self, token: str, *, now: datetime | None = None) -> Session | None:
        """The live session of a token, as of everything acknowledged before the call."""
        # The hot path: an embedded log answers in place, without another coroutine.
        engine = self._engine
        key = digest(parse_token(token, engine.policy))
        return engine.live(self._log.state(engine.topic, key), now)

    async def touch(
        self,
        token: str,
        *,
        last_seen_at: datetime | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """Record that a live session was seen, now or at `last_seen_at`.

        `attributes` replaces all of them. `expires_at`, or `ttl` after the moment it was seen,
        moves the expiry, never past the deadline; without either it slides as the policy says.
        """
        command = Touch(
            last_seen_at=last_seen_at, expires_at=expires_at, ttl=ttl, attributes=attributes
        )
        why = Why(reason=reason, actor=actor, context=context)
        return await self._engine.touch(token, command, why)

    async def expire(
        self,
        token: str,
        *,
        expired_at: datetime | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """End the session of a token, for good; the session as it ended, None for an unknown one.

        A session that was ended before stays as it was, unless an earlier `expired_at` is given.
        """
        why = Why(reason=reason, actor=actor, context=context)
        return await self._engine.expire(token, Expire(expired_at=expired_at), why)

    async def find(self, *, handle: str, now: datetime | None = None) -> Session | None:
        """The live session of a handle. Raises `InvalidSession` for what is no handle."""
        return await self._engine.find(handle, now)

    async def revoke(
        self,
        *,
        handle: str,
        expired_at: datetime | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """End the session of a handle, for good; the session as it ended, None for an unknown."""
        why = Why(reason=reason, actor=actor, context=context)
        return await self._engine.revoke(handle, Expire(expired_at=expired_at), why)

    async def history(
        self, *, handle: str | None = None, principal: str | None = None
    ) -> list[HistoryEntry]:
        """What happened to a session, or to all of a principal, ended ones too, oldest first."""
        return await self._engine.history(handle, principal)

    def sessions(
        self,
        *,
        principal: str | None = None,
        live: bool = True,
        after: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncSessions:
        """The sessions of a principal, oldest first, or everybody's, by handle.

        `live=False` lists the ended and lapsed ones too; `after` is the cursor of a page.
        """
        return AsyncSessions(self._engine, principal, live, after, page_size)

    async def count(self, *, principal: str | None = None, live: bool = True) -> int:
        """How many live sessions there are, of a principal or in all.

        `live=False` counts also those that ended or lapsed, and handles that were expired, by
        others, before they were ever created.
        """
        return await self._engine.count(principal, live)

    async def events(self, *, after: int = 0) -> AsyncIterator[StoredEvent]:
        """Every event of the topic with an id above `after`, as it is stored."""
        while page := await self._engine.events(after, EVENT_PAGE):
            for event in page:
                yield event
            after = page[-1].id

    async def head(self) -> LedgerHead:
        """The newest event's id and hash: keep it elsewhere, and `verify` against it."""
        return await self._engine.head()

    async def verify(
        self, *, expect: str | None = None, progress: Progress | None = None
    ) -> Verification:
        """Walk the hash chain, and find the first event that was changed, removed or moved.

        `expect` is an earlier head as text: with it a log that was cut short or rewritten as a
        whole is found too.
        """
        return await self._engine.verify(expect, progress)

    async def rebuild(self, *, progress: Progress | None = None) -> int:
        """Fold all rows anew from the log; how many events that were."""
        return await self._engine.rebuild(progress)

    async def stats(self) -> Stats:
        """How much there is, and on what."""
        return await self._engine.stats()

    async def close(self) -> None:
        """Release the ledger. Closing twice is nothing."""
        bridge, self._bridge = self._bridge, None
        self._engine = no_engine("the store is closed")
        if bridge is None:
            self._connect = None
            return
        release = bridge.detach() if self._connect is None else bridge.close()
        self._connect = None
        # A caller that is cancelled does not leave the ledger open.
        await asyncio.shield(release)
