"""Group commit: appends that wait at the same time share one transaction and one fsync.

There is no thread and no timer. The first to come leads: it commits whatever is pending, its own
append among it, and then wakes the others and hands the lead to the first that came meanwhile.
A caller that is interrupted while it waits stays in line: its append still completes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from sessionledger.errors import LogUnavailable
from sessionledger.logs.base import Outcome, Unit


class Ticket:
    """One append that waits for its outcome."""

    __slots__ = ("_turn", "abandoned", "done", "error", "leads", "outcomes", "topic", "units")

    def __init__(self, topic: str, units: Sequence[Unit]) -> None:
        self.topic = topic
        self.units = units
        self.outcomes: list[Outcome] = []
        self.error: BaseException | None = None
        self.done = False
        self.leads = False
        self.abandoned = False
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        """Wait until it is done or has the lead."""
        self._turn.acquire()

    def wake(self) -> None:
        """End its wait; waking it twice is nothing."""
        if self._turn.locked():
            self._turn.release()


class GroupCommit:
    """Runs `commit` for one leader at a time, with all the tickets that are pending by then.

    `commit` gives each ticket its outcomes, durably, or raises and has written nothing.
    """

    def __init__(self, commit: Callable[[Sequence[Ticket]], None]) -> None:
        self._commit = commit
        self._mutex = threading.Lock()
        self._pending: list[Ticket] = []
        self._led = False

    def append(self, topic: str, units: Sequence[Unit]) -> list[Outcome]:
        """Commit the units together with whoever else waits. Raises what the commit raised."""
        ticket = Ticket(topic, units)
        try:
            with self._mutex:
                self._pending.append(ticket)
                ticket.leads, self._led = not self._led, True
            if not ticket.leads:
                ticket.wait()
            if not ticket.done:
                self._lead()
        except BaseException:
            self._abandon(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.outcomes

    def _abandon(self, ticket: Ticket) -> None:
        with self._mutex:
            ticket.abandoned = True
            must_lead = ticket.leads and not ticket.done
        if must_lead:
            self._lead()

    def _lead(self) -> None:
        stays, interruption = True, None
        batch: list[Ticket] = []
        while stays:
            try:
                with self._mutex:
                    batch, self._pending = self._pending, []
                self._commit_batch(batch)
            except BaseException as error:  # noqa: BLE001  raised once nobody waits for us
                interruption = error
            try:
                stays = self._pass_on(batch)
            except BaseException as error:  # noqa: BLE001  and half of them may be awake
                interruption = error
                stays = self._pass_on(batch)
        if interruption is not None:
            raise interruption

    def _commit_batch(self, batch: Sequence[Ticket]) -> None:
        try:
            self._commit(batch)
        except Exception as error:  # noqa: BLE001  everyone who waits gets it
            for ticket in batch:
                ticket.error = error
        except BaseException:
            for ticket in batch:
                ticket.error = LogUnavailable("interrupted while it was committed: read it back")
            raise
        finally:
            for ticket in batch:
                ticket.done = True

    def _pass_on(self, batch: Sequence[Ticket]) -> bool:
        """Wake the batch and the next leader; True when the lead stays because nobody takes it."""
        with self._mutex:
            heir = next((ticket for ticket in self._pending if not ticket.abandoned), None)
            self._led = bool(self._pending)
            if heir is not None:
                heir.leads = True
            stays = self._led and heir is None
        for ticket in batch:
            ticket.wake()
        if heir is not None:
            heir.wake()
        return stays


def by_topic(tickets: Sequence[Ticket]) -> dict[str, list[Ticket]]:
    """The tickets of each topic, in order."""
    groups: dict[str, list[Ticket]] = {}
    for ticket in tickets:
        groups.setdefault(ticket.topic, []).append(ticket)
    return groups
