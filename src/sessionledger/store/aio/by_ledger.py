"""About the ledger as a whole: its events, what is wrong with it, and what keeps it bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from sessionledger.core.token import Handle
from sessionledger.findings import Examining, Finding
from sessionledger.logs.base import Progress, StoredEvent
from sessionledger.secrecy import without_locals
from sessionledger.store.audit.reports import LedgerHead, Stats, Verification
from sessionledger.store.engine import Engine, Folder
from sessionledger.store.facade import Facade
from sessionledger.store.operations import sweep

if TYPE_CHECKING:  # the synchronous store takes its methods from here, and needs no event loop
    import asyncio
    from pathlib import Path

    from sessionledger.store.copies.results import BackedUp
    from sessionledger.store.erasure.erase import Erasure
    from sessionledger.store.history.activity import Activity
    from sessionledger.store.maintenance import Maintained
    from sessionledger.store.operations.compaction import Compacted


class ByLedger(Facade):
    """The calls about all events and rows of the topic, and about the whole ledger."""

    async def sweep(self, *, now: datetime | None = None, limit: int = sweep.BATCH) -> int:
        """Record the end of sessions that lapsed, at most of so many; how many were recorded.

        Only those that lapsed longer ago than the policy's `sweep_margin`, each once, whoever else
        sweeps. Raises `ClockJumped` rather than ending sessions by a clock that can't be right.
        """
        return await sweep.sweep(self._engine, now, limit)

    async def run_sweeper(
        self, interval: timedelta = timedelta(minutes=1), *, stop: asyncio.Event | None = None
    ) -> None:
        """Sweep now and after every interval, until `stop` is set or the store is closed.

        It occupies its task. Errors are told to the store's `on_error`, and it goes on.
        """
        import asyncio

        engine, stopped = self._engine, stop or asyncio.Event()
        engine.check_open()
        await _repeat(engine, partial(sweep.turn, engine, interval), stopped)

    async def events(
        self, *, after: int = 0, archive: Folder | None = None
    ) -> AsyncIterator[StoredEvent]:
        """Every event of the topic with an id above `after`, as it is stored.

        With the folder of an `archive` also those that were removed.
        """
        async for page in pages(self._engine, after, archive):
            for event in page:
                yield event

    async def head(self) -> LedgerHead:
        """The newest event's id and hash: keep it elsewhere, and `verify` against it."""
        return await self._engine.head()

    async def verify(
        self,
        *,
        expect: str | None = None,
        archive: Folder | None = None,
        progress: Progress | None = None,
    ) -> Verification:
        """Walk the hash chain, and find the first event that was changed, removed or moved.

        `expect` is an earlier head as text: with it a log that was cut short or rewritten as a
        whole is found too. After a compaction the base is checked, and the chain from there on.
        With the folder of an `archive` it is walked from the very first event on.
        Raises `HistoryCut` for an earlier head that was removed since.
        """
        from sessionledger.store.audit import verification  # few processes ever do

        return await verification.verify(self._engine, expect, archive, progress)

    async def rebuild(self, *, progress: Progress | None = None) -> int:
        """Fold all rows again from the log; how many events that were."""
        return await self._engine.rebuild(progress)

    async def compact(
        self,
        *,
        retention: timedelta,
        dry_run: bool = False,
        shorten: bool = False,
        give_up: Collection[str] = (),
        accept_break: int = 0,
        archive: Folder | None = None,
        give_up_archive: bool = False,
        vacuum: bool = False,
        progress: Progress | None = None,
    ) -> Compacted:
        """Remove the events that are older than `retention`, at least 48 hours; what was removed.

        Every session stays as it is, unless it ended: then a tombstone remains, and its token can
        never be used again. `dry_run=True` removes nothing and answers what would go. A retention
        shorter than the last one needs `shorten=True`. Events that a consumer has yet to read stay,
        unless it is named by `give_up`. A break of the chain stops it, unless `accept_break` is
        the id of the event, or a later one.

        What is removed is first copied to the folder `archive`. From then on each compaction needs
        it, unless `give_up_archive=True`. `vacuum=True` makes an older SQLite file give its space
        back; nobody can write meanwhile.
        """
        from sessionledger.store.operations import compaction  # few processes ever do

        return await compaction.compact(
            self._engine,
            retention,
            give_up,
            accept_break,
            progress,
            archive,
            dry_run=dry_run,
            shorten=shorten,
            give_up_archive=give_up_archive,
            vacuum=vacuum,
        )

    async def maintain(
        self, *, retention: timedelta | None = None, archive: Folder | None = None
    ) -> Maintained | None:
        """One round of maintenance, for a timer of your own; None while another process is at it.

        Sweeps each topic of the ledger that holds sessions, and compacts it if a `retention` is
        given; `archive` is as in `compact`. An error in one topic does not keep the others from it:
        the first one is raised afterwards, and `on_error` is told of the others.
        """
        from sessionledger.store.maintenance import Maintenance

        self._engine.check_open()
        return await Maintenance(self._engine, self._log, retention, archive).maintain()

    async def run_maintenance(
        self,
        interval: timedelta = timedelta(hours=1),
        *,
        retention: timedelta | None = None,
        archive: Folder | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Maintain the ledger now and after every interval, until `stop` is set or the store is
        closed. It then ends with the step that is under way.

        One process does it at a time, and none within an interval of the last round, however many
        run this. It occupies its task. Errors are told to the store's `on_error`, and it goes on.
        """
        import asyncio

        from sessionledger.store.maintenance import Maintenance

        engine, stopped = self._engine, stop or asyncio.Event()
        engine.check_open()
        maintenance = Maintenance(engine, self._log, retention, archive, stopped.is_set)
        await _repeat(engine, partial(maintenance.turn, interval), stopped)

    @without_locals
    async def erase(
        self,
        principal: str | None = None,
        *,
        handle: str | None = None,
        mentions: bool = False,
        progress: Progress | None = None,
    ) -> Erasure:
        """End and erase all sessions of a principal, or that of a handle; what was done.

        Their events are replaced by stubs without personal data, in every topic of the ledger
        and in its archive. The tokens can never be used again, and the chain goes on. What others
        said of the principal is found and answered. `mentions=True` blanks reasons, actors and
        contexts. The next maintenance finishes what was interrupted. docs/erasure.md says what
        stays.
        """
        from sessionledger.store.erasure.erase import erase
        from sessionledger.store.maintenance import Maintenance

        self._engine.check_open()
        engine_of = Maintenance(self._engine, self._log, None).engine_of
        given = (self._log, self._engine, engine_of, principal, handle, progress)
        return await self._engine.log.call(partial(erase, *given, mentions=mentions))

    async def erasures(self) -> list[Handle]:
        """The handles that were erased, as far as no compaction removed the lists of them.

        Keep them outside of the ledger, and give them to `restore`: a backup may be older.
        """
        from sessionledger.store.erasure.lists import erased_handles

        return await self._engine.log.call(erased_handles, self._log)

    async def backup(self, path: str | Path, *, progress: Progress | None = None) -> BackedUp:
        """Copy all topics of the ledger to a new file, and verify the copy. Writers go on.

        Only `restore` opens it. It holds no token, and all else that the ledger holds. Raises
        `LogUnavailable` for a file that exists or can't be written.
        """
        from sessionledger.store.copies.backup import write_backup  # few processes ever do

        log = self._engine.log
        return await log.call(write_backup, log.log, path, progress)

    async def diagnose(self, *, progress: Examining | None = None) -> list[Finding]:
        """What is wrong with the ledger now, the worst first; nothing when it is well.

        Changes nothing. What an opening mends is mended already: `diagnose(url)` looks at a ledger
        that is not open.
        """
        return await self._engine.diagnose(progress)

    async def stats(self) -> Stats:
        """How much there is, and on what."""
        return await self._engine.stats()

    async def activity(
        self, *, since: datetime, until: datetime | None = None, per: str = "hour"
    ) -> Activity:
        """How many sessions began and ended, and how often reuse was found, by hours or days.

        `per` is "hour" or "day", in UTC; intervals are whole, up to 1,000 hours or 400 days. A call
        reads at most 100,000 events, the newest first, and never those that an earlier one has
        counted. `Activity.counted_from` says from when on nothing is missing.
        """
        from sessionledger.store.history.activity import activity  # few processes ever do

        return await activity(self._engine, since, until, per)


def pages(engine: Engine, after: int, archive: Folder | None) -> AsyncIterator[list[StoredEvent]]:
    """All events with an id above `after`, with those of an archive if one is given."""
    if archive is None:
        return engine.pages(after)
    from sessionledger.store.audit import archive as reading  # few processes ever do

    return reading.pages(engine, after, archive)


async def _repeat(
    engine: Engine,
    turn: Callable[[], Awaitable[Callable[[], float] | None]],
    stopped: asyncio.Event,
) -> None:
    """Take turns, each once the one before leaves no seconds to wait, until it is stopped."""
    import asyncio

    from sessionledger.background import running_loop

    running_loop()
    while (left := await turn()) is not None and not stopped.is_set():
        while not engine.closed and not stopped.is_set() and left() > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), left())
