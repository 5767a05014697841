"""What a backup and a restore answer."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sessionledger.store.audit.reports import LedgerHead, Verification


class BackedUp(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was written.

    bytes: its size. topics: what was verified of it, one for each topic. A topic that is not ok
    was not ok in the ledger, and is in the backup as it is there.
    """

    path: Path
    bytes: int
    topics: tuple[Verification, ...]

    @property
    def ok(self) -> bool:
        """Whether every chain holds."""
        return all(topic.ok for topic in self.topics)


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that has its address.

    to: that address, without a password. topics: what was verified of it, one for each topic.
    moved: whether the copy took the place of the ledger, which nobody can use any more.
    """

    to: str
    topics: tuple[Verification, ...]
    moved: bool


class CopiedForReference(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that the reference reads, and what the reference can't know.

    heads: of each topic that has sessions. live, ended: sessions without an end, and those that are
    over. families, children: live ones whose relatives the reference does not end with them.
    forgotten: whether a compaction forgot tokens, which can be created there.
    """

    to: str
    heads: tuple[LedgerHead, ...]
    live: int
    ended: int
    families: int
    children: int
    forgotten: bool


class RestoredTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of a restored ledger.

    events: how many came from the backup. ended: how many of its sessions had no end of their own,
    and were ended. restored: the id of the event that says that what came after is lost.
    """

    topic: str
    events: int
    ended: int
    restored: int


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger was made of."""

    topics: tuple[RestoredTopic, ...]
