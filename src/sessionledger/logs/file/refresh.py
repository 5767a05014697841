"""A look at a topic's file: take in what is durable, and tell what lies beyond.

Nothing is written. A file that no longer holds what was acknowledged is refused: going on would
bring back sessions whose end is gone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from sessionledger.errors import CorruptLog, LogUnavailable
from sessionledger.logs.base import Fold
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.index import NO_FILE, Image, read_exactly, stamp_of
from sessionledger.logs.file.recovery.checkpoint import Origin, in_force
from sessionledger.logs.file.recovery.durable_offset import Published
from sessionledger.logs.file.recovery.torn_tail import worth_of

ADVICE = "restore the ledger from a copy, without its folder `durable`"


class Look(NamedTuple):
    """What is known of a topic now.

    is_more: the file goes on behind what is durable. is_beyond_claim: further than its last writer
    said that it would write. is_published: it is said how far it is durable, if there is anything.
    """

    image: Image
    is_more: bool
    is_beyond_claim: bool
    is_published: bool


def look(disk: Disk, topic: str, image: Image, fold: Fold | None, only_reads: bool) -> Look:
    """Bring the image up to what is durable; or make a new one, where the file is another one.

    only_reads: complete lines count as durable where nothing was published.
    """
    file = opened(disk.topic(topic))
    try:
        try:
            seen = _look_into(file, disk, topic, image, fold, only_reads)
        except (CorruptLog, LogUnavailable):
            if image.is_there(file):
                raise
        else:
            if image.is_there(file):
                return seen
    finally:
        if file is not None:
            os.close(file)
    # It was emptied meanwhile, and what is published may have been of the new one already.
    return look(disk, topic, image, fold, only_reads)


def opened(path: Path) -> int | None:
    """A topic's file, to be read; None where there is none, which is as good as an empty one."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def begin(disk: Disk, topic: str, file: int | None, image: Image) -> tuple[Image, Published | None]:
    """The image, if it is of the open file, else a new one; and what is published of that file.

    Nobody who empties the topic meanwhile confuses this as long as the file is in its place
    afterwards. Raises `CorruptLog`.
    """
    published = disk.published(topic)
    inode = NO_FILE.inode if file is None else os.fstat(file).st_ino
    since = image.origin.head.id if published is None else published.since
    if inode != image.stamp.inode or since != image.origin.head.id or inode == NO_FILE.inode:
        origin = in_force(disk.origin(topic), disk.coming_origin(topic), file)
        if inode != image.stamp.inode or origin.head != image.origin.head:
            image = Image(image.path, origin)
    return image, _of_this_file(topic, image.origin, published)


def _of_this_file(topic: str, origin: Origin, published: Published | None) -> Published | None:
    """What is published, if it is of the file that goes on from the origin."""
    if published is None or published.since == origin.head.id:
        return published
    if published.since < origin.head.id and published.durable <= origin.replaced.size:
        return None  # whoever emptied it was killed before he said so
    raise CorruptLog(
        f"{published.durable} bytes of topic {topic!r} were acknowledged that follow event "
        f"{published.since}, and its file goes on from {origin.head.id}: it was replaced; {ADVICE}"
    )


def _look_into(
    file: int | None, disk: Disk, topic: str, before: Image, fold: Fold | None, only_reads: bool
) -> Look:
    # In this order: what is published lies below the size that is asked for afterwards, and what
    # was acknowledged before the look began is published by now.
    image, published = begin(disk, topic, file, before)
    size = 0
    if file is not None:
        found = os.fstat(file)
        size, image.stamp = found.st_size, stamp_of(found)
    upto = 0 if published is None else published.durable
    _refuse_shorter(topic, size, max(image.end, upto))
    if file is not None:
        if published is None and only_reads:
            upto = worth_of(lambda b, e: read_exactly(file, b, e), image.end, size).end
        # Not folded before it is known that it is a continuation.
        image.scan(file, upto, fold if image is before or before.stamp == NO_FILE else None)
    if image is not before and not image.holds(before):
        raise CorruptLog(
            f"the file of topic {topic!r} was replaced by one that lacks event {before.head.id}: "
            f"events were removed; {ADVICE}"
        )
    claimed = image.end if published is None else published.claimed
    return Look(image, size > image.end, size > claimed, bool(published) or not image.end)


def _refuse_shorter(topic: str, size: int, known: int) -> None:
    if size < known:
        raise CorruptLog(
            f"the file of topic {topic!r} has {size} bytes, and {known} were acknowledged: it was "
            f"cut; {ADVICE}"
        )
