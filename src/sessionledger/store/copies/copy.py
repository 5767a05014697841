"""A copy of a ledger at another address, of whatever kind: ids, hashes, bases and cursors stay.

1. The copy is staged: nothing opens it before it is whole. It goes on where an earlier one ended.
2. Events are copied page by page, while others write. Then come the bases, and the rows are folded.
3. The chains of the copy are verified. Its bases and rows are compared with the ledger's.
4. To cut over, the rest is copied while nobody writes. Then nobody uses the ledger any more.
5. The copy gets its address.
"""

from __future__ import annotations

from contextlib import closing, suppress

from msgspec.structs import replace

from sessionledger.errors import (
    HistoryCut,
    InvalidURL,
    LedgerMoved,
    LogError,
    LogUnavailable,
    MaintenanceRunning,
)
from sessionledger.logs.base import Log, Progress
from sessionledger.logs.compaction.copyable import CopyableLog, Staged
from sessionledger.logs.compaction.transfer import PAGE, take
from sessionledger.logs.url import open_log, open_snapshot, staged_at
from sessionledger.secrecy import without_locals
from sessionledger.store.audit.reports import LedgerHead, Verification
from sessionledger.store.copies.backup import refuse_broken, verified
from sessionledger.store.copies.comparison import compare, forget, head_of, refuse_other, walked
from sessionledger.store.copies.results import Copied
from sessionledger.store.engine import SESSIONS_TOPIC

CONSUMER = "sessionledger.copy"
"""Whoever follows a ledger, so that compactions wait."""

_ATTEMPTS = 5
_WAIT_SECONDS = 0.2
_CONNECTIONS = 5


@without_locals
def copy(
    source: str,
    target: str,
    *,
    follow: bool = False,
    cut_over: bool = False,
    accept_breaks: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copy a ledger to an address that has none. The same call goes on with one that was killed.

    follow: copy what is written, for ever. What `progress` raises ends it, and nothing is opened.
    cut_over: the copy takes the place of the ledger, and has everything that was acknowledged.
    Each later call there raises `LedgerMoved`, in every process.
    accept_breaks: copy a chain that breaks.
    Raises `CorruptLog` for a chain that breaks, and for rows that differ. Raises `LogUnavailable`
    for an address that has a ledger, or an unfinished copy of another one. Raises
    `MaintenanceRunning` if compactions come between each time, and what `open_log` raises.
    """
    staged = staged_at(target)
    try:
        open_snapshot(source).close()
    except LedgerMoved as moved:
        if moved.to != staged.location or not staged.is_there():
            raise
        # An earlier call was killed after all was copied.
        with closing(staged.open()) as log:
            topics = tuple(verified(log, topic) for topic in log.topics())
        return _put(staged, topics, is_moved=True)
    with closing(open_log(source, pool_size=_CONNECTIONS)) as log:
        copying = Copying(copyable(log), progress)
        with closing(staged.open()) as draft:
            topics = copying.to(
                copyable(draft),
                staged,
                follow=follow,
                cut_over=cut_over,
                accept_breaks=accept_breaks,
            )
        copied = _put(staged, topics, is_moved=cut_over)
        if not cut_over:
            copying.let_go()
    return copied


def copyable(log: Log) -> CopyableLog:
    """The log, as one to copy from. Raises `InvalidURL`."""
    if not isinstance(log, CopyableLog):
        raise InvalidURL("a ledger of this kind can't be copied: use a backup")
    return log


def _put(staged: Staged, topics: tuple[Verification, ...], *, is_moved: bool) -> Copied:
    try:
        staged.put()
    except LogError as error:
        raise LogUnavailable(
            f"the copy is whole, and has no address yet: {error}. Copy again to the same address"
        ) from error
    return Copied(to=staged.location, topics=topics, moved=is_moved)


class Copying:
    """Copies one ledger."""

    def __init__(self, source: CopyableLog, progress: Progress | None) -> None:
        self._source = source
        self._progress = progress
        self._done = 0

    def to(
        self,
        draft: CopyableLog,
        staged: Staged,
        *,
        follow: bool = False,
        cut_over: bool = False,
        accept_breaks: bool = False,
    ) -> tuple[Verification, ...]:
        """Copy all to a draft; what was verified of it."""
        self._draft = draft
        with draft.lease():
            if follow or cut_over:
                self._hold()
            while follow and not cut_over:
                self._follow()
            topics = self._whole(accept_breaks)
            if cut_over:
                self._source.hand_over(staged.location, self._finish)
                topics = tuple(map(self._with_rest, topics))
            else:
                self._take_cursors()
            return topics

    def let_go(self) -> None:
        """Have no compaction wait for the copy any more."""
        for topic in self._source.topics():
            if CONSUMER in self._source.cursors(topic):
                self._source.forget_cursor(topic, CONSUMER)

    def _hold(self) -> None:
        for topic in self._source.topics():
            self._source.ack(topic, CONSUMER, self._draft.latest(topic))

    def _follow(self) -> None:
        with suppress(HistoryCut):
            if not self._round():
                after = self._draft.latest(SESSIONS_TOPIC)
                self._source.wait(SESSIONS_TOPIC, after, _WAIT_SECONDS)
                self._tell(0)
            self._hold()

    def _whole(self, accept_breaks: bool) -> tuple[Verification, ...]:
        """Copy what there is now, verify it, and compare it."""
        for _ in range(_ATTEMPTS):
            with suppress(HistoryCut):
                while self._round() >= PAGE:
                    pass
                for topic in self._source.topics():
                    forget(self._source, topic)
                topics = tuple(verified(self._draft, one) for one in self._draft.topics())
                if not accept_breaks:
                    refuse_broken(topics, "the ledger")
                for topic in self._draft.topics():
                    compare(self._source, self._draft, topic)
                return topics
        raise MaintenanceRunning("the ledger was compacted each time it was copied: try again")

    def _round(self) -> int:
        """Copy what was written since the last round; how many events."""
        topics = self._source.topics()
        for topic in set(self._draft.topics()).difference(topics):
            refuse_other(topic)
        done = sum(map(self._topic, topics))
        for topic in topics if done else ():
            forget(self._draft, topic)
        return done

    def _topic(self, topic: str) -> int:
        before, head, cut = self._done, head_of(self._draft, topic), self._source.cut(topic)
        if head.id >= cut.id and head.id and head_of(self._source, topic, head.id) != head:
            refuse_other(topic)
        take(self._source, self._draft, topic, self._tell)
        return self._done - before

    def _tell(self, done: int) -> None:
        self._done += done
        if self._progress is not None:
            self._progress(self._done)

    def _finish(self) -> None:
        """Copy the rest, while nobody writes."""
        before = {topic: head_of(self._draft, topic) for topic in self._source.topics()}
        self._progress = None  # what it raises would come too late
        self._round()
        for topic, head in before.items():
            walked(self._source, self._draft, topic, head)
        self._take_cursors()

    def _take_cursors(self) -> None:
        for topic in self._source.topics():
            for consumer, cursor in self._source.cursors(topic).items():
                if consumer != CONSUMER:
                    self._draft.ack(topic, consumer, cursor)

    def _with_rest(self, topic: Verification) -> Verification:
        head = head_of(self._draft, topic.head.topic)
        return replace(topic, head=LedgerHead(topic.head.topic, head.id, head.hash))
