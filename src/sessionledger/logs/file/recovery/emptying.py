"""Removing all events of a topic, while its head and its rows stay.

1. The new checkpoint is written and flushed. Until the next step it does not count.
2. An empty file replaces the topic's. This is the moment: before it the topic is as it was, after
   it the topic is empty. Its ids go on in both cases.
3. It is published that nothing of the new file is durable yet.
4. The new checkpoint replaces the one before it. If that is left undone, it is done next time.

All steps are flushed, whatever the durability: a loss would not be the last moments, but all
events.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sessionledger.errors import LogUnavailable
from sessionledger.logs.base import Row
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.index import TopicIndex
from sessionledger.logs.file.recovery import checkpoint
from sessionledger.logs.file.recovery.checkpoint import Checkpoint
from sessionledger.logs.file.recovery.durable_offset import Published


def empty(disk: Disk, topic: str, index: TopicIndex, rows: Sequence[Row]) -> None:
    """Remove the events of a topic whose index is fresh, and has these rows.

    The caller has the writer's lock. Raises `OSError`, or `LogUnavailable` where a program writes
    without the lock; the topic is then as it was.
    """
    path, following = disk.checkpoint(topic), disk.next_checkpoint(topic)
    disk.make_folder(path.parent)
    _finish(path, following, index)
    # An earlier emptying may have left names unflushed, and its checkpoint is replaced now.
    for folder in (path.parent, disk.root, disk.root.parent):
        disk.flush_folder(folder)
    file = os.open(index.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = checkpoint.encode(
            Checkpoint(index.head, checkpoint.fingerprint(file, index.end), rows)
        )
        disk.write_draft(following, content, os.fsync).replace(following)
        disk.flush_folder(following.parent)
        draft = disk.write_draft(index.path, b"", os.fsync)
        if os.fstat(file).st_size != index.end:
            draft.unlink()
            raise LogUnavailable(f"another program wrote to {index.path}: try again")
    finally:
        os.close(file)
    disk.replace_topic(topic, draft)
    disk.publish(topic, Published(0, 0, index.head.id, 0))
    following.replace(path)


def _finish(path: Path, following: Path, index: TopicIndex) -> None:
    """Do the last step of an earlier emptying, if it was left undone."""
    new = checkpoint.read(following)
    if new is not None and new.head == index.checkpoint.head:
        following.replace(path)
