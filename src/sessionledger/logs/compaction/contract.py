"""What a log offers whose topics can be compacted.

Compaction folds the events of a topic up to one of them, the **cut**. That gives a **base**: a row
for each key that has such an event, as of the cut. Then it appends a **seal**, an event with a hash
of the base, and removes the events. From then on the rows are fold(base, remaining events).

1. Ids never rewind, and the seal and all later events stay. So the chain goes on.
2. A key that is over at the cut, with no later event, keeps only what `Compaction.remains` says.
   Its row is replaced as well. Every other row, with its version, stays as it is.
3. A process that is killed leaves a topic that is sealed, or one that is not. Both are valid. The
   next compaction removes what was left behind.
4. Nobody appends to a cut topic without its fold, and no program but this one.
5. A read below the cut raises `HistoryCut`. So does the read of a key that was begun at or before
   the cut, unless it asks for later events only.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from os import getpid
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec
from msgspec.structs import astuple

from sessionledger.errors import CorruptLog, HistoryCut, LedgerMoved, LogUnavailable
from sessionledger.logs.base import Draft, Progress, Row, StoredEvent
from sessionledger.logs.chain import EMPTY, Head

_entry = msgspec.msgpack.Encoder()
_values = msgspec.msgpack.Decoder(
    tuple[bytes, int, int, str, int, bool, bytes, str | None, str | None, bool]
)

FORGOTTEN: Final = "forgotten"

MOVED = "this ledger was moved to "
"""What a database says of a ledger that was left, before the address of the copy."""
UNOPENED = 1_000_000
"""Added to the number of the schema of what no version of this package opens as a ledger."""

Remains: TypeAlias = Callable[[Row, Sequence[Row]], Draft | Literal["forgotten"] | None]
"""What remains of a row that is not live, given the live rows of its group; None for all of it.

Of a key that is `FORGOTTEN` neither an entry of the base nor a row remains. The seal says how many
there are, and no such row is removed before it is there. The fold may take the seal as an event of
a key of its own. The row of that key then says that others were forgotten.
"""


class Reduction(msgspec.Struct, frozen=True):
    """How many keys that are over were replaced by what remains of them, and how many forgotten."""

    replaced: int = 0
    forgotten: int = 0


class Cut(msgspec.Struct, frozen=True, gc=False):
    """The last event that was removed, and the id of the seal that says so; 0 if none ever was."""

    head: Head
    seal: int = 0

    @property
    def id(self) -> int:
        """The id of the last event that was removed."""
        return self.head.id


WHOLE = Cut(EMPTY)
"""The cut of a topic that has all its events."""


class Removal(msgspec.Struct, frozen=True):
    """Which events are to be removed: all up to `head`.

    bytes: of their payloads and headers. newest_ms: when the newest of them happened.
    """

    head: Head
    events: int
    bytes: int
    newest_ms: int


class Segment(msgspec.Struct, frozen=True):
    """The file of an archive that holds what a compaction removed.

    previous: the name of the segment before it, None for the first.
    """

    name: str
    folder: str
    previous: str | None


Keep: TypeAlias = Callable[[Cut, Callable[[int, int], list[StoredEvent]]], Segment | None]
"""Copies the events after a cut that are about to be removed; the segment, if there is one.

A log calls it once in each compaction, with its cut and its `read` of the topic. It has the lease
then, and has folded nothing yet. The seal names the segment. It raises if the copy fails.
"""


def keep_nothing(_: Cut, __: Callable[[int, int], list[StoredEvent]]) -> Segment | None:
    """No archive."""
    return None


class Compaction(msgspec.Struct, frozen=True):
    """What a log is told to remove, what remains of keys that are over, and what keeps a copy."""

    removal: Removal
    retention_ms: int
    remains: Remains
    at_ms: int
    keep: Keep = keep_nothing


class CompactableLog(Protocol):
    """What a `Log` also offers if its topics can be compacted."""

    def cut(self, topic: str) -> Cut:
        """Up to where the events of a topic were removed."""
        ...

    def base_row(self, topic: str, key: bytes) -> Row | None:
        """The row of a key in the base; None for a key that was begun after the cut."""
        ...

    def base(self, topic: str, after: bytes, limit: int) -> list[Row]:
        """The rows of the base with a key above `after`, in the order of their keys."""
        ...

    def cursors(self, topic: str) -> dict[str, int]:
        """The cursors of a topic by their consumers. Events above a cursor are not removed."""
        ...

    def forget_cursor(self, topic: str, consumer: str) -> None:
        """Remove the cursor of a consumer, so that it holds nothing back."""
        ...

    def lease(self) -> AbstractContextManager[None]:
        """Keep everybody else from maintaining the ledger; this thread may compact and rebuild.

        Raises `MaintenanceRunning` while another process or thread has it.
        """
        ...

    def compact(
        self, topic: str, compaction: Compaction, progress: Progress | None = None
    ) -> Reduction:
        """Remove events, and answer what became of the keys that are over.

        The topic's fold is required. Without events to remove, it only removes what an interrupted
        compaction left. `progress` is told between two steps how many of the events are done. What
        it raises ends the compaction there, as if the process were killed.
        Raises `MaintenanceRunning` where `lease` does.
        """
        ...


@runtime_checkable
class VacuumableLog(Protocol):
    """What a `CompactableLog` also offers if its file may keep the space of what was removed."""

    def vacuum(self) -> None:
        """Give the space back, from now on after each compaction. Writers wait meanwhile."""
        ...


class Rewriting(msgspec.Struct, frozen=True):
    """Which events, rows and entries of the base are replaced, so that a person is forgotten.

    events: what stands in the place of those with the same ids. seals: likewise, of those that seal
    the base. row: what stands in the place of a row or an entry; it is asked for those of `keys`.
    Folding the new events gives the new rows.
    """

    events: Sequence[StoredEvent]
    seals: Sequence[StoredEvent]
    keys: Sequence[bytes]
    row: Callable[[Row], Row]


@runtime_checkable
class ErasableLog(Protocol):
    """What a `CompactableLog` also offers if what was written can be replaced."""

    def rewrite(self, topic: str, rewriting: Rewriting, progress: Progress | None = None) -> None:
        """Replace events, rows and entries of the base. The caller has the lease.

        A process that is killed leaves some of it undone; to do all of it again completes it. Base
        and seals are replaced together. `progress` is as in `compact`.
        """
        ...

    def purge(self) -> tuple[str, ...]:
        """Remove what was replaced from the files themselves; where only others can remove it.

        Raises `LogTimeout` while somebody reads what was there before.
        """
        ...


class Leased(ABC):
    """What has a lease for a thread of a process."""

    _holder: tuple[int, int] | None = None

    @abstractmethod
    def _lease(self) -> AbstractContextManager[None]:
        """Keep every other process from maintaining the ledger. Raises `MaintenanceRunning`."""

    @contextmanager
    def lease(self) -> Iterator[None]:
        """As in `CompactableLog`."""
        me = (getpid(), threading.get_ident())
        if self._holder == me:
            yield
            return
        with self._lease():
            self._holder = me
            try:
                yield
            finally:
                self._holder = None


def refuse_below(cut: int, after: int) -> None:
    """Raises `HistoryCut` for a read of events that were removed."""
    if after < cut:
        raise HistoryCut(cut)


def refuse_behind(topic: str, head: int, events: Sequence[StoredEvent]) -> None:
    """Raises `LogUnavailable` for events that do not follow those of a topic."""
    if events[0].id <= head:
        raise LogUnavailable(f"another process copies to {topic!r} too: let one of them go on")


def encode_row(row: Row) -> bytes:
    """A row as an entry of the base."""
    return _entry.encode(astuple(row))


def decode_row(entry: bytes) -> Row:
    """The row in an entry. Raises `CorruptLog`."""
    try:
        return Row(*_values.decode(entry))
    except msgspec.DecodeError:
        raise CorruptLog(
            "an entry of the base is damaged: restore the ledger from a copy"
        ) from None


def refuse_moved(said: str) -> None:
    """Raises `LedgerMoved` if a database said that the ledger was left."""
    _, moved, to = said.partition(MOVED)
    if moved:
        raise LedgerMoved(to.partition("\n")[0]) from None
