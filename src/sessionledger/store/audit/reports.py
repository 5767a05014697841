"""What `head`, `verify` and `stats` answer."""

from __future__ import annotations

import msgspec

from sessionledger.errors import InvalidEvent
from sessionledger.logs.base import Description
from sessionledger.logs.chain import Break, Head


class LedgerHead(msgspec.Struct, frozen=True):
    """The newest event of a topic: keep it elsewhere, and `verify` against it later.

    As text `topic:id:hash`; an empty topic has id 0 and the hash `-`.
    """

    topic: str
    id: int
    hash: str | None

    def __str__(self) -> str:
        return f"{self.topic}:{self.id}:{self.hash or '-'}"


class Verification(msgspec.Struct, frozen=True):
    """The outcome of walking the hash chain.

    events: how many hold. broken: the first that does not, and why; None when all hold. cut: the
    last event that was removed and is not in the archive that was read, 0 for none. The base that
    a compaction left was checked too.
    """

    head: LedgerHead
    events: int
    broken: Break | None
    cut: int = 0

    @property
    def ok(self) -> bool:
        """Whether every event holds."""
        return self.broken is None


class Stats(msgspec.Struct, frozen=True):
    """How much there is. sessions counts the ended ones too; live those that are neither ended
    nor lapsed now."""

    topic: str
    events: int
    sessions: int
    live: int
    log: Description


def parse_head(text: str, topic: str) -> Head:
    """The head that `str(LedgerHead)` wrote. Raises `InvalidEvent`."""
    name, _, rest = text.strip().partition(":")
    id, _, hash = rest.partition(":")
    if not hash or not id.isdecimal():
        raise InvalidEvent("a head is topic:id:hash, as `head` prints it")
    if name != topic:
        raise InvalidEvent(f"that is the head of another topic, not of {topic!r}")
    return Head(int(id), None if hash == "-" else hash)


def missing_head(expected: Head, found: Head | None) -> Break | None:
    """How the log fails to hold the expected head, if it does."""
    if expected.id == 0 or found == expected:
        return None
    if found is None:
        return Break(expected.id, "it is expected and not there: the log was cut short")
    return Break(expected.id, "its hash is not the expected one: the log was rewritten")
