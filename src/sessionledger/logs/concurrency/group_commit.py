"""Group commit: appends that wait at the same time share one transaction and one fsync.

There is no thread and no timer. The first to come leads: it commits whatever is pending, its own
append among it, and then wakes the others and hands the lead to the first that came meanwhile.
A caller that is interrupted while it waits stays in line: its append still completes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import get_ident

from sessionledger.errors import LogUnavailable, SessionLedgerError
from sessionledger.logs.base import Outcome, Unit
from sessionledger.logs.concurrency.reentrancy import Reentered


class Ticket:
    """One append that waits for its outcome."""

    __slots__ = ("_turn", "abandoned", "done", "error", "outcomes", "topic", "units")

    def __init__(self, topic: str, units: Sequence[Unit]) -> None:
        self.topic = topic
        self.units = units
        self.outcomes: list[Outcome] = []
        self.error: BaseException | None = None
        self.done = False
        self.abandoned = False
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        """Wait until it may be done, or may have the lead."""
        self._turn.acquire()

    def wake(self) -> None:
        """End its wait; waking it twice is nothing."""
        with suppress(RuntimeError):
            self._turn.release()


class GroupCommit:
    """Runs `commit` for one leader at a time, with all the tickets that are pending by then.

    `commit` gives each ticket its outcomes, durably, or raises and has written nothing. What the
    leader is doing stands in attributes, so that, interrupted anywhere, it is gone on with.
    """

    def __init__(self, commit: Callable[[Sequence[Ticket]], None]) -> None:
        self._commit = commit
        self._mutex = threading.Lock()
        self._pending: list[Ticket] = []
        self._leader: Ticket | None = None
        self._batch: list[Ticket] = []
        self._begun = False
        self._verdict: BaseException | None = None
        self._inside: set[int] = set()

    def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        """Commit the units together with whoever else waits. Raises what the commit raised."""
        me = get_ident()
        if me in self._inside:
            raise Reentered
        try:
            self._inside.add(me)
            return self._append(Ticket(topic, units))
        finally:
            self._inside.discard(me)

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
        settled = False
        while not settled:
            ticket.wait()
            with self._mutex:
                settled = ticket.done or self._leader is ticket

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
            self._begin()
        for ticket in self._batch:
            if not ticket.done:
                ticket.error = ticket.error or self._verdict
                ticket.done = True
            ticket.wake()
        self._pass_on()

    def _begin(self) -> None:
        # Until it is known what came of it: the outcome, or an error of the commit's own. Others
        # don't get what a signal handler raised in the midst of it, perhaps after it was written.
        self._verdict = LogUnavailable("interrupted while it was committed: read it back")
        self._begun = True
        try:
            self._commit(self._batch)
        except Reentered:
            raise
        except (SessionLedgerError, ValueError) as error:
            self._verdict = error
        else:
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


def by_topic(tickets: Sequence[Ticket]) -> dict[str, list[Ticket]]:
    """The tickets of each topic, in order."""
    groups: dict[str, list[Ticket]] = {}
    for ticket in tickets:
        groups.setdefault(ticket.topic, []).append(ticket)
    return groups
