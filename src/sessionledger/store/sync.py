"""The synchronous store: for scripts, threads, and every framework that is not async."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

from sessionledger.core.decide import Create, Expire, Touch
from sessionledger.core.history import HistoryEntry
from sessionledger.core.policy import Policy
from sessionledger.core.session import IssuedSession, Session
from sessionledger.core.token import digest, parse_token
from sessionledger.logs.base import Log, Progress, StoredEvent
from sessionledger.logs.inline import Inline
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

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    raise AssertionError("an embedded log suspended")


class Sessions:
    """A listing of sessions: iterate it, or take it `.pages()` by page."""

    def __init__(
        self, engine: Engine, principal: str | None, live: bool, after: str | None, page_size: int
    ) -> None:
        self._engine = engine
        self._principal = principal
        self._live = live
        self._after = after
        self._page_size = page_size

    def pages(self) -> Iterator[Page]:
        """Page by page; `Page.cursor` given as `after=` goes on where it ended."""
        cursor, more = self._after, True
        while more:
            page = drive(self._engine.page(self._principal, self._live, cursor, self._page_size))
            cursor, more = page.cursor, page.cursor is not None
            yield page

    def __iter__(self) -> Iterator[Session]:
        for page in self.pages():
            yield from page.sessions


class SessionStore:
    """Sessions on a ledger. Every method may be called from any thread.

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
        self._log = log
        self._owns_log = False
        self._engine = Engine(Inline(log), topic, policy or Policy(), clock or system_clock)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        durability: str = "full",
        topic: str = SESSIONS_TOPIC,
    ) -> SessionStore:
        """Open the ledger at an address: `memory:` or `sqlite:///path`.

        durability: "full" answers after fsync; "normal" survives the process but not a power loss.
        Raises `InvalidURL`, `LogUnavailable`, `NotALedger`, `UnsupportedSchema`.
        """
        log = open_log(url, durability=durability)
        try:
            store = cls(log, policy=policy, clock=clock, topic=topic)
        except BaseException:
            log.close()
            raise
        store._owns_log = True
        return store

    def __enter__(self) -> SessionStore:
        self._engine.check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def create(
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
        return drive(self._engine.create(command, token, why))

    def get(self, token: str, *, now: datetime | None = None) -> Session | None:
        """The live session of a token, as of everything acknowledged before the call."""
        # The hot path: what the engine would do, without the price of a coroutine.
        engine = self._engine
        key = digest(parse_token(token, engine.policy))
        return engine.live(self._log.state(engine.topic, key), now)

    def touch(
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
        return drive(self._engine.touch(token, command, why))

    def expire(
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
        return drive(self._engine.expire(token, Expire(expired_at=expired_at), why))

    def find(self, *, handle: str, now: datetime | None = None) -> Session | None:
        """The live session of a handle. Raises `InvalidSession` for what is no handle."""
        return drive(self._engine.find(handle, now))

    def revoke(
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
        return drive(self._engine.revoke(handle, Expire(expired_at=expired_at), why))

    def history(
        self, *, handle: str | None = None, principal: str | None = None
    ) -> list[HistoryEntry]:
        """What happened to a session, or to all of a principal, ended ones too, oldest first."""
        return drive(self._engine.history(handle, principal))

    def sessions(
        self,
        *,
        principal: str | None = None,
        live: bool = True,
        after: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Sessions:
        """The sessions of a principal, oldest first, or everybody's, by handle.

        `live=False` lists the ended and lapsed ones too; `after` is the cursor of a page.
        """
        return Sessions(self._engine, principal, live, after, page_size)

    def count(self, *, principal: str | None = None, live: bool = True) -> int:
        """How many live sessions there are, of a principal or in all.

        `live=False` counts also those that ended or lapsed, and handles that were expired, by
        others, before they were ever created.
        """
        return drive(self._engine.count(principal, live))

    def events(self, *, after: int = 0) -> Iterator[StoredEvent]:
        """Every event of the topic with an id above `after`, as it is stored."""
        while page := drive(self._engine.events(after, EVENT_PAGE)):
            yield from page
            after = page[-1].id

    def head(self) -> LedgerHead:
        """The newest event's id and hash: keep it elsewhere, and `verify` against it."""
        return drive(self._engine.head())

    def verify(
        self, *, expect: str | None = None, progress: Progress | None = None
    ) -> Verification:
        """Walk the hash chain, and find the first event that was changed, removed or moved.

        `expect` is an earlier head as text: with it a log that was cut short or rewritten as a
        whole is found too.
        """
        return drive(self._engine.verify(expect, progress))

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Fold all rows anew from the log; how many events that were."""
        return drive(self._engine.rebuild(progress))

    def stats(self) -> Stats:
        """How much there is, and on what."""
        return drive(self._engine.stats())

    def close(self) -> None:
        """Release the ledger. Closing twice is nothing."""
        self._engine = no_engine("the store is closed")
        if self._owns_log:
            self._log.close()
