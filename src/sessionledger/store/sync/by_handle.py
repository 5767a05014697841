"""By name: what who administers sessions does, by handle, principal and external id."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain

from sessionledger.core.history import HistoryEntry
from sessionledger.core.session import Session
from sessionledger.secrecy import without_locals
from sessionledger.store.aio import by_handle as aio
from sessionledger.store.engine import Engine
from sessionledger.store.facade import Facade
from sessionledger.store.operations import history, listings, sweep
from sessionledger.store.operations.history import (
    CaughtUp,
    HistoryPage,
    HistoryRange,
    HistoryReader,
)
from sessionledger.store.operations.listings import Selection
from sessionledger.store.pages import MAX_PAGE_SIZE, PAGE_SIZE, Page
from sessionledger.store.sync.drive import drive, drive_all, in_place


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


class History:
    """A history: iterate it, or take it `.pages()` by page."""

    def __init__(self, engine: Engine, part: HistoryRange) -> None:
        self._engine = engine
        self._part = part

    def pages(self) -> Iterator[HistoryPage]:
        """Page by page; `HistoryPage.cursor` given as `after=` goes on where it ended."""
        reader, more = HistoryReader(self._engine, self._part), True
        while more:
            page = drive(reader.page())
            more = page.cursor is not None
            yield page

    def __iter__(self) -> Iterator[HistoryEntry]:
        return chain.from_iterable(page.entries for page in self.pages())


class ByHandle(Facade):
    """The calls that take a handle, a principal or an external id, and those over all sessions."""

    find = in_place(aio.ByHandle.find)

    def sessions(
        self,
        *,
        principal: str | None = None,
        external_id: str | None = None,
        live: bool = True,
        superseded: bool = False,
        after: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Sessions:
        """The sessions of a principal or with an external id, oldest first, or everybody's, by
        handle.

        `live=False` lists the ended and lapsed ones too, and `superseded=True` those that a newer
        session of their family stands for. `after` is the cursor of a page.
        """
        which = Selection(principal, external_id, live, superseded)
        return Sessions(self._engine, which, after, page_size)

    count = in_place(aio.ByHandle.count)
    revoke = in_place(aio.ByHandle.revoke)
    revoke_all = in_place(aio.ByHandle.revoke_all)
    revoke_everybody = in_place(aio.ByHandle.revoke_everybody)
    as_of = in_place(aio.ByHandle.as_of)

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

    @without_locals
    def history(
        self,
        *,
        handle: str | None = None,
        principal: str | None = None,
        after: int | None = None,
        page_size: int = MAX_PAGE_SIZE,
    ) -> History:
        """What happened to a session, or to all of a principal, ended ones too, oldest first.

        It is read as it is iterated, `page_size` entries at a time; `after` is the cursor of a
        page, or the id of an event.
        """
        return History(self._engine, history.history_range(handle, principal, after, page_size))

    sweep = in_place(aio.ByHandle.sweep)

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
