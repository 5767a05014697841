"""Removing all events of a topic, while its head and its rows stay: what a compaction is made of.

1. The new origin is written and flushed; until the next step it does not count.
2. An empty file is put in the place of the topic's. This is the moment: before it the topic is as
   it was, after it the topic is empty, and its ids go on in both cases.
3. It is published that nothing of the new file is durable yet.
4. The new origin takes the place of the one before it. Left undone, it is done next time.

All of it is flushed, whatever the durability: half of it would not be the last moments, but all
that ever happened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sessionledger.errors import LogUnavailable
from sessionledger.logs.base import Row
from sessionledger.logs.file.disk import Disk, flush_folder, write_draft
from sessionledger.logs.file.index import Image
from sessionledger.logs.file.recovery import checkpoint
from sessionledger.logs.file.recovery.checkpoint import Origin
from sessionledger.logs.file.recovery.durable_offset import Published


def empty(disk: Disk, topic: str, image: Image, rows: Sequence[Row]) -> None:
    """Remove the events of an image that was just looked at, and has these rows.

    The turn is the caller's. Raises `OSError`, or `LogUnavailable` where somebody writes who takes
    no turns; the topic is then as it was.
    """
    path, coming = disk.origin(topic), disk.coming_origin(topic)
    disk.make_folder(path.parent)
    flush_folder(disk.root)
    _finish(path, coming, image)
    file = os.open(image.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = checkpoint.encode(Origin(image.head, checkpoint.replaced(file, image.end), rows))
        write_draft(coming, content, os.fsync).replace(coming)
        flush_folder(coming.parent)
        draft = write_draft(image.path, b"", os.fsync)
        if os.fstat(file).st_size != image.end:
            draft.unlink()
            raise LogUnavailable(f"another program wrote to {image.path}: try again")
    finally:
        os.close(file)
    disk.replace_topic(topic, draft)
    disk.publish(topic, Published(0, 0, image.head.id))
    coming.replace(path)


def _finish(path: Path, coming: Path, image: Image) -> None:
    """The last step of an emptying before, if that was left undone."""
    new = checkpoint.read(coming)
    if new is not None and new.head == image.origin.head:
        coming.replace(path)
