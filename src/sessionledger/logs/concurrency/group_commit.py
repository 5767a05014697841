"""Group commit: appends that wait at the same time share one transaction and one fsync.

There is no thread and no timer. The first caller leads: it commits all pending appends, its own
among them, and wakes their callers. Then it hands the lead to the first that came meanwhile. A
caller that is interrupted while it waits stays in line: its append still completes.

Each append waits until its own time. If the leader gets no turn to write by then, its batch fails,
and whoever came meanwhile tries next. A caller whose time is over leaves the line, and nothing of
it is written. If others are just committing its append, it gets to know that it can't be known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice, starmap
from time import monotonic
from typing import Protocol, TypeAlias, TypeVar

from sessionledger.errors import LogTimeout, LogUnavailable, SessionLedgerError
from sessionledger.logs.base import Outcome, Unit
from sessionledger.logs.concurrency.greenlets import Beside, in_place
from sessionledger.logs.concurrency.locks import Lock
from sessionledger.logs.concurrency.reentrancy import ReentrancyGuard, still_writing
from sessionledger.logs.concurrency.waiting import Waiters, until_of_call

T = TypeVar("T")

GRACE_SECONDS = 1.0  # for whoever commits the writes of others: it may fail at the same moment
UNKNOWN = (
    "another thread has yet to commit this write, and the time to wait for it is over: it may be "
    "written. Make the same call again, or read it back"
)


class Ticket:
    """One append that waits for its outcome."""

    __slots__ = ("_asleep", "abandoned", "done", "error", "outcomes", "topic", "units", "until")

    def __init__(self, topic: str, units: Sequence[Unit], until: float) -> None:
        self.topic = topic
        self.units = units
        self.until = until
        self.outcomes: list[Outcome] = []
        self.error: BaseException | None = None
        self.done = False
        self.abandoned = False
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self) -> bool:
        """Wait until it may be done, or may have the lead. False: its time is over."""
        left = self.until + GRACE_SECONDS - monotonic()
        return self._asleep.acquire(timeout=max(0.0, left))

    def wake(self) -> None:
        """End its wait; waking it twice is nothing."""
        with suppress(RuntimeError):
            self._asleep.release()


class Batch:
    """Units of one topic that are committed together.

    Whoever commits sets `outcomes`, or `error` where the topic fails alone.
    """

    def __init__(self, topic: str, tickets: Sequence[Ticket]) -> None:
        self.topic = topic
        self.units = [unit for ticket in tickets for unit in ticket.units]
        self.outcomes: Sequence[Outcome] = ()
        self.error: BaseException | None = None
        self._tickets = tickets

    def deal(self) -> None:
        """Give each ticket its outcomes, or the error."""
        for ticket, outcomes in dealt(self.outcomes, self._tickets):
            ticket.outcomes, ticket.error = outcomes, self.error


Commit: TypeAlias = Callable[[Sequence[Batch], float], None]
"""Commits batches of several topics durably, or raises and has written nothing: `LogTimeout` if it
has to wait beyond a time."""


class GroupCommit:
    """Runs `commit` for one leader at a time, with all the tickets that are pending by then.

    What the leader is doing stands in attributes: if it is interrupted anywhere, it goes on there.
    timeout: how many seconds an append waits for others. waiters: are notified of every commit.
    beside: makes the call that commits, for example in another thread.
    """

    def __init__(self, commit: Commit, timeout: float, beside: Beside = in_place) -> None:
        self.waiters = Waiters()
        self._commit = commit
        self._beside = beside
        self._timeout = timeout
        self._mutex = Lock()
        self._pending: list[Ticket] = []
        self._leader: Ticket | None = None
        self._batch: list[Ticket] = []
        self._begun = False
        self._verdict: BaseException | None = None
        self._guard = ReentrancyGuard()

    def append(
        self, topic: str, units: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        """Commit the units together with whoever else waits. Raises what the commit raised."""
        until = until_of_call(self._timeout) if until is None else until
        return self._guard.run(partial(self._append, Ticket(topic, units, until)))

    def run(self, work: Callable[[], T]) -> T:
        """Do another write, which is refused to signal handlers as appends are."""
        return self._guard.run(work)

    def _append(self, ticket: Ticket) -> list[Outcome]:
        try:
            with self._mutex:
                self._pending.append(ticket)
                if self._leader is None:
                    self._leader = ticket
            if self._leader is not ticket:
                self._await(ticket)
            self._lead(ticket)
        except BaseException:
            self._abandon(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.outcomes

    def _await(self, ticket: Ticket) -> None:
        is_over = False
        while not is_over:
            is_late = not ticket.wait()
            with self._mutex:
                is_over = ticket.done or self._leader is ticket
                if is_late and not is_over:
                    self._leave(ticket)
                    is_over = True

    def _leave(self, ticket: Ticket) -> None:
        """Let a ticket wait no longer, whose time is over. The caller has the mutex."""
        if ticket in self._pending:
            self._pending.remove(ticket)
            ticket.error = LogTimeout(still_writing("another thread"))
        else:
            ticket.abandoned = True
            ticket.error = LogUnavailable(UNKNOWN)

    def _abandon(self, ticket: Ticket) -> None:
        with self._mutex:
            ticket.abandoned = True
            if self._leader is None and self._pending:
                self._leader = ticket
        self._lead(ticket)

    def _lead(self, ticket: Ticket) -> None:
        """Commit for as long as it has the lead."""
        interruption = None
        while self._leader is ticket:
            try:
                self._go_on()
            except BaseException as error:  # noqa: BLE001  raised once nobody waits for us
                interruption = error
        if interruption is not None:
            raise interruption

    def _go_on(self) -> None:
        """One batch, from where it stands: what was begun is not begun again."""
        if not self._batch:
            with self._mutex:
                self._batch, self._pending = self._pending, []
        if not self._begun:
            self._beside(self._begin)
        if self._verdict is None:
            self.waiters.notify()
        for ticket in self._batch:
            if not ticket.done:
                ticket.error = ticket.error or self._verdict
                ticket.done = True
            ticket.wake()
        self._pass_on()

    def _begin(self) -> None:
        assert self._leader is not None
        # Until it is known what came of it: the outcome, or an error of the commit's own. Others
        # don't get what a signal handler raised in the midst of it, perhaps after it was written.
        self._verdict = LogUnavailable("interrupted while it was committed: read it back")
        self._begun = True
        batches = list(starmap(Batch, by_topic(self._batch).items()))
        try:
            self._commit(batches, self._leader.until)
        except (SessionLedgerError, ValueError) as error:
            self._verdict = error
        else:
            for batch in batches:
                batch.deal()
            self._verdict = None

    def _pass_on(self) -> None:
        """Give the lead to the first that waits; keep it for those who don't; else it is over."""
        with self._mutex:
            heir = next((ticket for ticket in self._pending if not ticket.abandoned), None)
            if heir is not None:
                heir.wake()
            elif self._pending:
                heir = self._leader
            self._batch, self._begun, self._leader = [], False, heir


def each_alone(write: Callable[[str, Sequence[Unit], float], list[Outcome]]) -> Commit:
    """A commit of batches that succeed or fail each by itself."""

    def commit(batches: Sequence[Batch], until: float) -> None:
        for batch in batches:
            try:
                batch.outcomes = write(batch.topic, batch.units, until)
            except (SessionLedgerError, ValueError) as error:
                batch.error = error

    return commit


class Waiting(Protocol):
    """Something that waits for units of a topic to be appended."""

    @property
    def topic(self) -> str: ...
    @property
    def units(self) -> Sequence[Unit]: ...


W = TypeVar("W", bound=Waiting)


def by_topic(waiting: Iterable[W]) -> dict[str, list[W]]:
    """Those of each topic, in order."""
    groups: dict[str, list[W]] = {}
    for one in waiting:
        groups.setdefault(one.topic, []).append(one)
    return groups


def dealt(outcomes: Iterable[Outcome], waiting: Iterable[W]) -> list[tuple[W, list[Outcome]]]:
    """To each that waits its own of the outcomes of all their units."""
    rest = iter(outcomes)
    return [(one, list(islice(rest, len(one.units)))) for one in waiting]
