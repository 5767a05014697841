"""A look at a topic's file: take in what is durable, and tell what lies beyond.

Nothing is written. A file that no longer holds what was acknowledged is refused: going on would
bring back sessions whose end is gone.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from sessionledger.errors import CorruptLog
from sessionledger.logs.base import Fold
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.durable import Published
from sessionledger.logs.file.image import Image, read_exactly
from sessionledger.logs.file.tail import worth_of

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
    try:
        file = os.open(disk.topic(topic), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        _refuse_shorter(topic, 0, max(image.end, _durable(disk.published(topic))))
        return Look(image, False, False, True)
    try:
        return _look_into(file, disk, topic, image, fold, only_reads)
    finally:
        os.close(file)


def _look_into(
    file: int, disk: Disk, topic: str, image: Image, fold: Fold | None, only_reads: bool
) -> Look:
    # In this order: what is published lies below the size that is asked for afterwards, and what
    # was acknowledged before the look began is published by now.
    published = disk.published(topic)
    found = os.fstat(file)
    before, image = image, _image_of(image, found.st_ino)
    _refuse_shorter(topic, found.st_size, max(image.end, _durable(published)))
    image.inode = found.st_ino
    upto = _durable(published)
    if published is None and only_reads:
        upto = worth_of(lambda b, e: read_exactly(file, b, e), image.end, found.st_size).end
    # Not folded before it is known that it is a continuation.
    image.scan(file, upto, fold if image is before else None)
    if image is not before and not image.holds(before):
        raise CorruptLog(
            f"the file of topic {topic!r} was replaced by one that lacks event {before.head.id}: "
            f"events were removed; {ADVICE}"
        )
    claimed = image.end if published is None else published.claimed
    return Look(
        image, found.st_size > image.end, found.st_size > claimed, bool(published) or not image.end
    )


def _durable(published: Published | None) -> int:
    return 0 if published is None else published.durable


def _image_of(image: Image, inode: int) -> Image:
    """The image, if it is of that file, or of none yet; else a new one."""
    if image.inode not in (0, inode):
        return Image(image.path)
    return image


def _refuse_shorter(topic: str, size: int, known: int) -> None:
    if size < known:
        raise CorruptLog(
            f"the file of topic {topic!r} has {size} bytes, and {known} were acknowledged: it was "
            f"cut; {ADVICE}"
        )
