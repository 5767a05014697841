"""The seam: a topic is a log and a table.

A topic is a totally ordered sequence of events together with one row per key, which holds what
the key's events fold to. Whoever wants rows hands the log a `Fold`; the log stores bytes and
never knows what it folds. This module is the contract: every log, ours or a stranger's, answers
what is written here, and the conformance suite holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import msgspec

from sessionledger.findings import Finding
from sessionledger.logs.values import (
    ALL_ROWS,
    OVER,
    Appended,
    Change,
    Conflict,
    Draft,
    KeyState,
    LogEvent,
    Outcome,
    Put,
    Row,
    RowFilter,
    Rule,
    StoredEvent,
    Unit,
    Verdict,
    key_state_of,
)

if TYPE_CHECKING:
    from sessionledger.logs.compaction.contract import CompactableLog, Cut

__all__ = [
    "ALL_ROWS",
    "OVER",
    "Appended",
    "Change",
    "Check",
    "Conflict",
    "Description",
    "DocumentLog",
    "Draft",
    "Fold",
    "KeyState",
    "Log",
    "LogEvent",
    "Outcome",
    "Progress",
    "Put",
    "RemoteLog",
    "Row",
    "RowFilter",
    "Rule",
    "StoredEvent",
    "Unit",
    "Verdict",
    "View",
    "key_state_of",
]

Progress: TypeAlias = Callable[[int], None]
"""Told now and then how many events are done."""


class Description(msgspec.Struct, frozen=True):
    """What a log is and how it is set: for people, `stats` and error reports. No secrets."""

    backend: str
    location: str
    durability: str
    chained: bool
    details: dict[str, str | int | bool]


class View(Protocol):
    """A topic in one state of the log. To look at it folds and repairs nothing.

    head: the id that the log holds to be its newest. folded: up to which event there are rows, None
    for a log that folds its rows when it is opened. chained: whether the log chains its events.
    cut: up to where events were removed.
    """

    @property
    def head(self) -> int: ...
    @property
    def folded(self) -> int | None: ...
    @property
    def chained(self) -> bool: ...
    @property
    def cut(self) -> Cut: ...

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        """The events with an id above `after`, in order, those above the head too."""
        ...

    def rows(self, after: bytes, limit: int) -> list[Row]:
        """The rows with a key above `after`, in the order of their keys."""
        ...

    def base(self, after: bytes, limit: int) -> list[Row]:
        """The rows of the base with a key above `after`, in the order of their keys."""
        ...

    def cursors(self, topic: str) -> dict[str, int]:
        """The cursors of any topic by their consumers."""
        ...


Check: TypeAlias = Callable[[View], Sequence[Finding]]
"""What somebody who knows what events mean finds in a topic. It may take long: never in a loop."""


class Fold(Protocol):
    """What the events of a key make of its row. Pure: equal input, equal output, no exceptions.

    marks: the kinds of events that set or lift the topic's mark. They concern no key.
    """

    @property
    def marks(self) -> frozenset[str]: ...

    def mark(self, event: StoredEvent, before: int) -> int:
        """The id of the mark that is in force after an event of such a kind.

        The event's own if it is a mark, 0 if it lifts the mark `before`, and else `before`. A mark
        ends every key that was begun before it: `evolve` tells what it makes of a row. Such a row
        is not live from then on, whatever else concerns its key. Of a mark that was removed from
        the log `evolve` gets the id alone, and an event of no kind.
        """
        ...

    def key(self, event: LogEvent | StoredEvent) -> bytes | None:
        """The key that an event concerns, None when it concerns none."""
        ...

    def begins(self, damaged: StoredEvent) -> bool:
        """Whether an event that is damaged began its key, as far as can be seen."""
        ...

    def evolve(self, row: Row | None, event: LogEvent | StoredEvent) -> Draft | None:
        """The row of a key after one of its events; `row` is None where there is none yet.

        None: the event concerns a key that has no row, and gives it none.
        """
        ...

    def aftermath(self, row: Row) -> Rule | None:
        """What is due once a key of a group has ended, perhaps by an event that came without rows.

        A log that folds such events asks for each row that is not live afterwards. It appends what
        the rule decides before it answers anything, in the same transaction if it has any.
        """
        ...


class Log(Protocol):
    """A log in the synchronous colour. Every method may be called from any thread.

    Topics are named by 1 to 200 ASCII letters, digits, `.`, `_` and `-`; `InvalidEvent` otherwise.
    A topic that nobody wrote to is empty, not an error. All raise `LogUnavailable` when the
    storage refuses, and `StoreClosed` after `close`. A call that waits for others for `timeout`
    seconds raises `LogTimeout`, and has written nothing.
    """

    @property
    def timeout(self) -> float: ...

    def fold_with(self, topic: str, fold: Fold) -> None:
        """Keep the rows of the topic by this fold, from here on in this process."""
        ...

    def append(
        self, topic: str, units: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        """Append each unit that its conditions allow, and answer for each, in order.

        Units see the effects of those before them. When it returns, what was appended is durable.
        With the topic's fold, a change without a `put` is folded into its row at once. Without the
        fold a `put` is refused, and other changes are folded by the next log that has it. An append
        that was begun completes even if its caller is gone. until: when it stops waiting for
        others, by `time.monotonic`; by default after `timeout`.
        """
        ...

    def read(self, topic: str, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """The events with an id above `after`, in order, at most `limit` of them."""
        ...

    def read_key(
        self, topic: str, key: bytes, after: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        """The events of one key with an id above `after`, in order, at most `limit` of them."""
        ...

    def latest(self, topic: str) -> int:
        """The id of the newest event, 0 for an empty topic. Never smaller than it was before."""
        ...

    def mark(self, topic: str) -> int:
        """The id of the mark that is in force, 0 for none."""
        ...

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        """Wait until the newest id is above `after`, at most `timeout` seconds; answer it."""
        ...

    def row(self, topic: str, key: bytes) -> Row | None:
        """The newest state of the key: it includes every event acknowledged before the call."""
        ...

    def state(self, topic: str, key: bytes) -> KeyState | None:
        """What `row` answers, as far as a request needs it: the read that has to be fast."""
        ...

    def rows(
        self, topic: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int = 1000
    ) -> list[Row]:
        """A page of the rows that `where` matches, in the order of its `position`.

        `after` is the last row of the page before.
        """
        ...

    def count(self, topic: str, where: RowFilter = ALL_ROWS) -> int:
        """How many rows `where` matches."""
        ...

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        """Drop the rows and fold the events again; how many, as `progress` is told now and then."""
        ...

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        """Remember, durably, that a consumer is done with every event up to `cursor`.

        A cursor never goes back: an older one is ignored."""
        ...

    def cursor(self, topic: str, consumer: str) -> int:
        """What the consumer last acknowledged, 0 before the first."""
        ...

    def topics(self) -> list[str]:
        """The topics that hold or held events, sorted."""
        ...

    def describe(self) -> Description:
        """What this log is and how it is set."""
        ...

    def examine(self, topic: str, check: Check) -> list[Finding]:
        """What is wrong with the log now, and what `check` finds in the topic.

        Changes nothing. Nothing of the log's is held while the check's own code runs.
        """
        ...

    def compactable(self) -> CompactableLog | None:
        """What compacts the topics of this log, mostly the log itself; None if it can't be done."""
        ...

    def flush(self) -> None:
        """Return when all that was acknowledged is on stable storage."""
        ...

    def close(self) -> None:
        """Release everything. Closing twice is nothing; other calls then raise `StoreClosed`."""
        ...


@runtime_checkable
class RemoteLog(Protocol):
    """What a `Log` also offers if its answers take a trip over a network.

    An event loop never calls such a log itself: threads wait for it. It calls every other log in
    place, since their reads answer within microseconds.
    """

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        """What `state` answers for each of the keys: in one trip, where the storage allows it."""
        ...

    def kept(self, topic: str, key: bytes) -> KeyState | None:
        """What `state` answers without a trip, if it may be a little old; else None."""
        ...


@runtime_checkable
class DocumentLog(Protocol):
    """What a `Log` also offers if it keeps small documents for all machines that share it.

    A document has the name of a topic and is no part of any: no event or copy has it. It may hold
    secrets, so the storage can grant its documents apart from the rest.
    """

    def document(self, name: str) -> bytes:
        """The newest content of a document, durable; empty before the first."""
        ...

    def replace_document(self, name: str, before: bytes, after: bytes) -> bool:
        """Replace the content `before` by `after`, durably; whether the content is `after` now.

        False: the content was neither, and stays. So a caller whose answer was lost may repeat it.
        Two callers who write the same content are both told True.
        """
        ...
