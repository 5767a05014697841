"""What `head`, `verify` and `stats` answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from sessionledger.core.instant import from_milliseconds
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
    a compaction left was checked too. erased: those that hold as stubs, which a list has.
    """

    head: LedgerHead
    events: int
    broken: Break | None
    cut: int = 0
    erased: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every event holds."""
        return self.broken is None


LAST_RUNS = "sessionledger.maintenance"
"""The topic whose cursors say when maintenance last began, by how it ended. It has no events."""
SUCCEEDED = "succeeded"


ERASURES = "sessionledger.erasures"
"""The topic whose cursors say up to which list each topic is erased. It has no events."""


class LastRun(msgspec.Struct, frozen=True):
    """The last round of maintenance: when it began, and `succeeded` or the code of an error."""

    at: datetime
    outcome: str


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is in a topic, and whether it stays bounded.

    events: those that were not removed. sessions: with the ended ones; live: neither ended nor
    lapsed now; tombstones: the handles of which nothing else is kept. oldest_at: when the oldest
    event happened. consumers: how many events each has yet to read. cut: the last event that was
    removed, 0 for none; compacted_at: when. maintained: the ledger's last round of maintenance.
    erased: the newest list of erased events, 0 for none; erasure_pending: whether something of it
    is left to be done.
    """

    topic: str
    events: int
    sessions: int
    live: int
    tombstones: int
    oldest_at: datetime | None
    consumers: dict[str, int]
    cut: int
    compacted_at: datetime | None
    maintained: LastRun | None
    erased: int
    erasure_pending: bool
    log: Description

    def figures(self) -> Iterator[tuple[str, str, str, float]]:
        """What is known of it, as metrics: name, unit, state of sessions, and value."""
        run, details = self.maintained, self.log.details
        size = details.get("bytes")
        yield "log.events", "{event}", "", self.events
        yield "sessions", "{session}", "live", self.live
        yield "sessions", "{session}", "ended", self.sessions - self.live
        yield "sessions", "{session}", "tombstone", self.tombstones
        yield "consumer.lag", "{event}", "", max(self.consumers.values(), default=0)
        yield "maintenance.failed", "", "", run is not None and run.outcome != SUCCEEDED
        if size is not None:
            yield "log.size", "By", "", int(size)
        if "max_staleness_ms" in details:
            yield "cache.rows", "{row}", "", int(details["cached_rows"])
            yield "cache.misses", "{read}", "", int(details["cache_misses"])
            yield "cache.staleness", "s", "", int(details["staleness_ms"]) / 1000
            yield "cache.unconfirmed", "{topic}", "", int(details["unconfirmed_topics"])
        instants = (self.oldest_at, self.compacted_at, run.at if run else None)
        for name, at in zip(
            ("log.oldest_event", "compaction", "maintenance"), instants, strict=True
        ):
            if at is not None:
                yield f"{name}.timestamp", "s", "", at.timestamp()


def last_run(cursors: Mapping[str, int]) -> LastRun | None:
    """The last run, by the cursors of `LAST_RUNS`."""
    if not cursors:
        return None
    name = max(cursors, key=lambda name: cursors[name])
    return LastRun(from_milliseconds(cursors[name]), name.removeprefix("failed."))


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
