"""By name: what who administers sessions does, by handle, principal and external id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sessionledger.core.ends import Expire
from sessionledger.core.history import HistoryEntry
from sessionledger.core.session import Session
from sessionledger.logs.base import Progress
from sessionledger.secrecy import without_locals
from sessionledger.store.engine import Annotation, Engine, Folder
from sessionledger.store.facade import Facade
from sessionledger.store.operations import everybody, families, listings, principals, selected
from sessionledger.store.operations.listings import Counts, Selection
from sessionledger.store.pages import MAX_PAGE_SIZE, PAGE_SIZE, ListedState, Page

if TYPE_CHECKING:  # the synchronous store takes its methods from here, and needs no event loop
    from ipaddress import IPv4Network, IPv6Network

    from sessionledger.store.history.reader import HistoryPage
    from sessionledger.store.history.sources import HistoryRange
    from sessionledger.store.history.watch import CaughtUp


class AsyncSessions:
    """A listing of sessions: iterate it, or take it `.pages()` by page."""

    def __init__(self, engine: Engine, which: Selection, after: str | None, page_size: int) -> None:
        self._engine = engine
        self._which = which
        self._after = after
        self._page_size = page_size

    async def pages(self) -> AsyncIterator[Page]:
        """Page by page; `Page.cursor` given as `after=` goes on where it ended."""
        cursor, more = self._after, True
        while more:
            page = await listings.page(self._engine, self._which, cursor, self._page_size)
            cursor, more = page.cursor, page.cursor is not None
            yield page

    async def __aiter__(self) -> AsyncIterator[Session]:
        async for page in self.pages():
            for session in page.sessions:
                yield session


class AsyncHistory:
    """A history: iterate it, or take it `.pages()` by page."""

    def __init__(self, engine: Engine, part: HistoryRange) -> None:
        self._engine = engine
        self._part = part

    async def pages(self) -> AsyncIterator[HistoryPage]:
        """Page by page; `HistoryPage.cursor` given as `after=` goes on where it ended."""
        from sessionledger.store.history.reader import HistoryReader  # few processes ever do

        reader, more = HistoryReader(self._engine, self._part), True
        while more:
            page = await reader.page()
            more = page.cursor is not None
            yield page

    async def __aiter__(self) -> AsyncIterator[HistoryEntry]:
        async for page in self.pages():
            for entry in page.entries:
                yield entry


class ByHandle(Facade):
    """The calls that take a handle, a principal or an external id, and those over all sessions."""

    @without_locals
    async def find(self, *, handle: str, now: datetime | None = None) -> Session | None:
        """The live session of a handle. Raises `InvalidSession` for what is no handle."""
        return await self._engine.find(handle, now)

    def sessions(
        self,
        *,
        principal: str | None = None,
        external_id: str | None = None,
        state: ListedState = "live",
        address: str | None = None,
        begun_after: datetime | None = None,
        begun_before: datetime | None = None,
        newest_first: bool = False,
        superseded: bool = False,
        after: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncSessions:
        """The sessions of a principal or with an external id, oldest first, or everybody's, by
        handle. Iterate it or its `.pages()`, like `history`: it is not awaited.

        `state` is `"live"`, `"lapsed"` (over, which no sweep has recorded yet), `"ended"` or
        `"all"`. `newest_first=True` lists everybody's by their beginning too; lapsed ones are
        listed by their end. `superseded=True` lists also those that a newer session of their family
        stands for. `after` is the cursor of a page.

        `address` is an address or a network that they were last seen at. `begun_after` and
        `begun_before` are compared with `created_at`. No index answers these: a page looks at
        10,000 sessions, and may hold few or none, and a cursor.
        """
        which = Selection(
            principal,
            external_id,
            state,
            superseded,
            address,
            begun_after,
            begun_before,
            newest_first,
        )
        return AsyncSessions(self._engine, which, after, page_size)

    async def count(
        self,
        *,
        principal: str | None = None,
        external_id: str | None = None,
        state: ListedState = "live",
        superseded: bool = False,
    ) -> int:
        """How many live sessions there are, of a principal or in all; one for each login.

        `state` is as in `sessions`. With `"all"`, handles count that were expired, by others,
        before they were ever created. `superseded=True` counts those as well that a newer session
        of their family stands for. It takes longer the more there are: see `counts`.
        """
        which = Selection(principal, external_id, state, superseded)
        return await listings.count(self._engine, which)

    async def counts(self) -> Counts:
        """How many logins there are in each state, counted at most once a minute.

        `as_of` says when. To count a million took 0.2 s in SQLite, and 0.9 s in PostgreSQL.
        """
        return await listings.counts(self._engine)

    @without_locals
    async def revoke(
        self,
        *,
        handle: str,
        expired_at: datetime | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """End the session of a handle, for good; the session as it ended, None for an unknown.

        What it was rotated from or into ends with it.
        """
        command = Expire(cause="revoked", expired_at=expired_at)
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await families.revoke(self._engine, handle, command, annotation)

    @without_locals
    async def revoke_all(
        self,
        principal: str | None = None,
        *,
        external_id: str | None = None,
        keep: Iterable[str] = (),
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> int:
        """End all live sessions of a principal, or with an external id, at once; how many.

        Those with a handle in `keep` stay. No reader sees some ended and others not. One that
        lapsed a moment ago is ended and counted too: a touch under way may still prolong it.
        """
        annotation = Annotation(reason=reason, actor=actor, context=context)
        which = Selection(principal, external_id)
        return await principals.revoke_all(self._engine, which, keep, annotation)

    async def revoke_everybody(
        self,
        *,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> HistoryEntry:
        """End every session that began before this, of every principal, by one event.

        When it returns none of them is live, for any process. It costs the same however many there
        are. `sweep` then records an end for each, which listings and the reference wait for.
        """
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await everybody.revoke_everybody(self._engine, annotation)

    @without_locals
    async def revoke_where(
        self,
        *,
        principals: Collection[str] | None = None,
        external_id: str | None = None,
        begun_before: datetime | None = None,
        begun_after: datetime | None = None,
        last_seen_before: datetime | None = None,
        last_seen_after: datetime | None = None,
        address_in: IPv4Network | IPv6Network | str | None = None,
        attributes: Mapping[str, object] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> int:
        """End the sessions that meet all given criteria, of any principal; how many logins ended.

        `dry_run=True` ends nothing and answers how many would end; `progress` is told at how many
        sessions it looked, and else how many logins ended. One event says who did it, why,
        and how many were counted before. If the call fails half-way, make it again. At least one
        criterion is required.
        """
        criteria = {
            "principals": principals,
            "external_id": external_id,
            "begun_before": begun_before,
            "begun_after": begun_after,
            "last_seen_before": last_seen_before,
            "last_seen_after": last_seen_after,
            "address_in": address_in,
            "attributes": attributes,
        }
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await selected.revoke_where(self._engine, criteria, annotation, dry_run, progress)

    @without_locals
    def history(
        self,
        *,
        handle: str | None = None,
        principal: str | None = None,
        actor: str | None = None,
        kind: str | None = None,
        cause: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = False,
        after: int | None = None,
        page_size: int = MAX_PAGE_SIZE,
        archive: Folder | None = None,
    ) -> AsyncHistory:
        """What happened to a session, to all of a principal or to everybody's, oldest first.

        Ended sessions are told too. Iterate it or its `.pages()`, like `sessions`: it is not
        awaited. Events are told that have this `actor`, `kind` and `cause`, from `since` until
        before `until`. A page ends after a look at 10,000 events: then it has few entries or none,
        and a cursor.

        `after` is the cursor of a page, or the id of an event: the history goes on behind it, to
        older events if `newest_first`. With an `archive`, what was removed of a session or a
        principal is told too. That walks all events.
        """
        from sessionledger.store.history.reader import history_range  # few processes ever do

        filters = {"actor": actor, "kind": kind, "cause": cause, "since": since, "until": until}
        whose = (handle, principal, filters)
        part = history_range(*whose, newest_first, after, page_size, archive)
        return AsyncHistory(self._engine, part)

    @without_locals
    async def as_of(self, *, handle: str, at: datetime) -> Session | None:
        """The session as it was known at an instant, ended or not; None before it began."""
        from sessionledger.store.history.past_states import as_of  # few processes ever do

        return await as_of(self._engine, handle, at)

    async def watch(
        self,
        *,
        after: int | None = None,
        principal: str | None = None,
        heartbeat: timedelta | None = None,
    ) -> AsyncIterator[HistoryEntry | CaughtUp]:
        """What happens to sessions, of a principal or to all, as it happens, without an end.

        It begins after the event with the id `after`, 0 for the very first; without it, with what
        is new. Once all that had happened is told a `CaughtUp` says so, and again each time, also
        after `heartbeat` without an event. `event_id` and `CaughtUp.cursor` are where to go on
        from: nothing is missed, and nothing repeated.
        """
        from sessionledger.store.history.watch import watch  # few processes ever do

        async for happened in watch(self._engine, after, principal, heartbeat):
            yield happened
