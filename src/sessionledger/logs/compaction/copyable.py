"""What a log offers to be copied to step by step, and to be left for its copy.

A copy is staged: it is a ledger that has no address yet. Once it is whole, it gets one. A ledger
that was left for its copy refuses every call of every process, also those of older versions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sessionledger.logs.base import Log, StoredEvent
from sessionledger.logs.compaction.contract import CompactableLog

if TYPE_CHECKING:  # few ledgers are copied
    from sessionledger.logs.compaction.transfer import Transfer


@runtime_checkable
class CopyableLog(CompactableLog, Log, Protocol):
    """What a `Log` also offers if it can be copied to, and left."""

    def extend(self, topic: str, events: Sequence[StoredEvent]) -> None:
        """Store events of another log behind those of a topic, as they are. The rows are folded
        when they are read. Raises `LogUnavailable` for events that do not follow."""
        ...

    def rebase(self, topic: str, transfer: Transfer) -> None:
        """Put the cut and the base of another log in the place of a topic's own. Events up to that
        cut are removed, and the rows are folded again. The seal is there already."""
        ...

    def hand_over(self, to: str, work: Callable[[], None]) -> None:
        """Do the work while nobody writes, and then let nobody read or write here any more.

        Each later call raises `LedgerMoved`, which names the address `to`. The work may read this
        log. If it raises, nothing has changed. Raises `MaintenanceRunning` where `lease` does.
        """
        ...


class Staged(Protocol):
    """A copy until it gets its address. location: that address, without secrets."""

    @property
    def location(self) -> str: ...

    def is_there(self) -> bool:
        """Whether a copy was begun, and has no address yet."""
        ...

    def open(self) -> Log:
        """The staged ledger, which goes on where an earlier copy ended. Raises `LogUnavailable`
        where the address has a ledger already."""
        ...

    def put(self) -> None:
        """Give the staged ledger its address. It is whole, and nobody has it open."""
        ...
