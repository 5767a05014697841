"""By name: what who administers sessions does, by handle, principal and external id."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain

from sessionledger.core.ends import Expire
from sessionledger.core.history import HistoryEntry
from sessionledger.core.session import Session
from sessionledger.secrecy import without_locals
from sessionledger.store.engine import Annotation, Engine
from sessionledger.store.facade import Facade
from sessionledger.store.operations import families, history, listings, principals, sweep
from sessionledger.store.operations.history import CaughtUp
from sessionledger.store.operations.listings import Selection
from sessionledger.store.pages import PAGE_SIZE, Page
from sessionledger.store.sync.drive import drive, drive_all


class Sessions:
    """A listing of sessions: iterate it, or take it `.pages()` by page."""

    def __init__(self, engine: Engine, which: Selection, after: str | None, page_size: int) -> None:
        self._engine = engine
        self._which = which
        self._after = after
        self._page_size = page_size

    def pages(self) -> Iterator[Page]:
        """Page by page; `Page.cursor` given as `after=` goes on where it ended."""
        cursor, more = self._after, True
        while more:
            page = drive(listings.page(self._engine, self._which, cursor, self._page_size))
            cursor, more = page.cursor, page.cursor is not None
            yield page

    def __iter__(self) -> Iterator[Session]:
        return chain.from_iterable(page.sessions for page in self.pages())


class ByHandle(Facade):
    """The calls that take a handle, a principal or an external id, and those over all sessions."""

    @without_locals
    def find(self, *, handle: str, now: datetime | None = None) -> Session | None:
        """The live session of a handle. Raises `InvalidSession` for what is no handle."""
        return drive(self._engine.find(handle, now))

    def sessions(
        self,
        *,
        principal: str | None = None,
        external_id: str | None = None,
        live: bool = True,
        after: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Sessions:
        """The sessions of a principal or with an external id, oldest first, or everybody's, by
        handle.

        `live=False` lists the ended and lapsed ones too; `after` is the cursor of a page.
        """
        which = Selection(principal, external_id, live)
        return Sessions(self._engine, which, after, page_size)

    def count(self, *, principal: str | None = None, live: bool = True) -> int:
        """How many live sessions there are, of a principal or in all.

        `live=False` counts also those that ended or lapsed, and handles that were expired, by
        others, before they were ever created.
        """
        return drive(listings.count(self._engine, Selection(principal, None, live)))

    @without_locals
    def revoke(
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
        return drive(families.revoke(self._engine, handle, command, annotation))

    @without_locals
    def revoke_all(
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
        return drive(principals.revoke_all(self._engine, which, keep, annotation))

    @without_locals
    def history(
        self, *, handle: str | None = None, principal: str | None = None
    ) -> list[HistoryEntry]:
        """What happened to a session, or to all of a principal, ended ones too, oldest first."""
        return drive(history.history(self._engine, handle, principal))

    @without_locals
    def as_of(self, *, handle: str, at: datetime) -> Session | None:
        """The session as it was known at an instant, ended or not; None before it began."""
        return drive(history.as_of(self._engine, handle, at))

    def watch(
        self,
        *,
        after: int | None = None,
        principal: str | None = None,
        heartbeat: timedelta | None = None,
    ) -> Iterator[HistoryEntry | CaughtUp]:
        """What happens to sessions, of a principal or to all, as it happens, without an end.

        It begins after the event with the id `after`, 0 for the very first; without it, with what
        is new. Once all that had happened is told a `CaughtUp` says so, and again each time, also
        after `heartbeat` without an event. `event_id` and `CaughtUp.cursor` are where to go on
        from: nothing is missed, and nothing repeated.
        """
        return drive_all(history.watch(self._engine, after, principal, heartbeat))

    def sweep(self, *, now: datetime | None = None, limit: int = sweep.BATCH) -> int:
        """Record the end of sessions that lapsed, at most of so many; how many were recorded.

        Only those that lapsed longer ago than the policy's `sweep_margin`, each once, whoever else
        sweeps. Raises `ClockJumped` rather than ending sessions by a clock that can't be right.
        """
        return drive(sweep.sweep(self._engine, now, limit))

    def run_sweeper(
        self, interval: timedelta = timedelta(minutes=1), *, stop: threading.Event | None = None
    ) -> None:
        """Sweep now and after every interval, until `stop` is set or the store is closed.

        It occupies its thread. Errors are told to the store's `on_error`, and it goes on.
        """
        engine, stopped = self._engine, stop or threading.Event()
        engine.check_open()
        left = sweep.rest_until(interval)
        while drive(sweep.sweep_round(engine)) and not stopped.is_set():
            while not engine.closed and left() > 0 and not stopped.wait(left()):
                pass
            left = sweep.rest_until(interval)
