"""Bringing a topic's index up to date: take in what is durable, and report what lies behind it.

Nothing is written. A file that lost acknowledged events is refused: otherwise sessions would come
back whose end is gone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from sessionledger.errors import CorruptLog, LogUnavailable
from sessionledger.logs.base import Fold
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.errors import refuse_moved
from sessionledger.logs.file.index import NO_FILE, TopicIndex, reader_of, stamp_of
from sessionledger.logs.file.recovery.checkpoint import Checkpoint, in_force
from sessionledger.logs.file.recovery.durable_offset import Published
from sessionledger.logs.file.recovery.torn_tail import Known, repair_of

ADVICE = "restore the ledger from a copy, without its folder `durable`"


class Refreshed(msgspec.Struct, frozen=True):
    """An index that was refreshed, and what the file has beyond it.

    is_more: the file continues behind what is durable. is_beyond_claim: it continues further than
    its last writer claimed. is_published: it is published how far it is durable.
    """

    index: TopicIndex
    is_more: bool
    is_beyond_claim: bool
    is_published: bool


def refresh(
    disk: Disk, topic: str, index: TopicIndex, fold: Fold | None, only_reads: bool
) -> Refreshed:
    """The index, up to what is durable; a new one if the file is another one.

    only_reads: complete lines count as durable where nobody published or claimed them.
    """
    file = opened(disk.topic(topic))
    try:
        try:
            seen = _refresh_from(file, disk, topic, index, fold, only_reads)
        except (CorruptLog, LogUnavailable):
            if index.is_there(file):
                raise
        else:
            if index.is_there(file):
                return seen
    finally:
        if file is not None:
            with suppress(OSError):
                os.close(file)
    # It was replaced meanwhile, and the published record may already be of the new file.
    return refresh(disk, topic, index, fold, only_reads)


def opened(path: Path) -> int | None:
    """A topic's file, to be read. None if there is no file, which counts as an empty one."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        refuse_moved(path.parent.parent)
        return None


def index_of(
    disk: Disk, topic: str, file: int | None, index: TopicIndex
) -> tuple[TopicIndex, Published | None]:
    """The index if it is of the open file, else a new one; and what is published of that file.

    If the topic is compacted meanwhile, the file is no longer in its place afterwards, and the
    result does not count. Raises `CorruptLog`.
    """
    published = disk.published(topic)
    inode = NO_FILE.inode if file is None else os.fstat(file).st_ino
    since = index.checkpoint.since if published is None else published.since
    if inode != index.stamp.inode or since != index.checkpoint.since or inode == NO_FILE.inode:
        checkpoint = in_force(disk.checkpoint(topic), disk.next_checkpoint(topic), file)
        if inode != index.stamp.inode or checkpoint.since != index.checkpoint.since:
            index = index.continued(checkpoint)
    return index, _of_this_file(topic, index.checkpoint, published)


def durable_end(index: TopicIndex, published: Published | None) -> tuple[int, int]:
    """Up to where the file of an index is durable, as far as anybody knows; the newest id there."""
    size = index.checkpoint.follows.size
    if published is None or published.durable < size:
        return size, index.cut.seal
    return published.durable, published.newest


def known_of(index: TopicIndex, published: Published | None) -> Known:
    """What is known where an index ends."""
    return Known(index.topic, index.head, published is not None, index.cut.id > 0)


def _of_this_file(
    topic: str, checkpoint: Checkpoint, published: Published | None
) -> Published | None:
    """What is published, if it is of the file that continues from the checkpoint."""
    since = checkpoint.since
    if published is None or published.since == since:
        return published
    if published.since < since and published.durable <= checkpoint.replaced.size:
        # The process that compacted it was killed before it published that, or that was lost.
        return Published(0, 0, since, 0)
    raise CorruptLog(
        f"{published.durable} bytes of topic {topic!r} were acknowledged that follow event "
        f"{published.since}, and its file continues from {since}: it was replaced; {ADVICE}"
    )


def _refresh_from(
    file: int | None,
    disk: Disk,
    topic: str,
    before: TopicIndex,
    fold: Fold | None,
    only_reads: bool,
) -> Refreshed:
    # In this order: the durable offset lies below the size that is asked for afterwards. What was
    # acknowledged before this began is published by now.
    index, published = index_of(disk, topic, file, before)
    size = 0
    if file is not None:
        found = os.fstat(file)
        size, index.stamp = found.st_size, stamp_of(found)
    upto, newest = durable_end(index, published)
    _refuse_shorter(topic, size, max(index.end, upto))
    if file is not None:
        # Folded only once it is known to be a continuation.
        fold = fold if index is before or before.stamp == NO_FILE else None
        index.scan(file, upto, fold, newest)
        if only_reads and (published is None or size > published.claimed):
            known = known_of(index, published)
            index.scan(file, repair_of(reader_of(file), index.end, size, known).end, fold)
    if index is not before and not index.holds(before):
        raise CorruptLog(
            f"the file of topic {topic!r} was replaced by one that lacks event {before.head.id}: "
            f"events were removed; {ADVICE}"
        )
    claimed = index.end if published is None else published.claimed
    return Refreshed(index, size > index.end, size > claimed, published is not None)


def _refuse_shorter(topic: str, size: int, known: int) -> None:
    if size < known:
        raise CorruptLog(
            f"the file of topic {topic!r} has {size} bytes, and {known} were acknowledged: it was "
            f"cut; {ADVICE}"
        )
