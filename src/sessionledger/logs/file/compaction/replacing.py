"""Another file in the place of a topic's, with the checkpoint that names it.

1. What an interrupted replacement left is completed, or removed.
2. Drafts of the new file and of the new checkpoint are written, and flushed.
3. The new checkpoint gets its name. It does not count yet. Then the new file replaces the topic's.
   This is the moment.
4. It is published that the new file is durable, and the new checkpoint replaces the one before it.
   If that is left undone, readers understand what is there, and the next replacement does it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sessionledger.errors import LogUnavailable
from sessionledger.logs.compaction.contract import Cut
from sessionledger.logs.file.disk import Disk, write
from sessionledger.logs.file.errors import opened_file
from sessionledger.logs.file.index import BLOCK_BYTES, read_exactly
from sessionledger.logs.file.recovery import checkpoint
from sessionledger.logs.file.recovery.durable_offset import Published


class Replacing(NamedTuple):
    """A topic's file, and open drafts of the new one and of its checkpoint."""

    disk: Disk
    topic: str
    old: int
    file: int
    new: int

    def copy(self, start: int, end: int) -> None:
        """Write the old file's bytes between two offsets to the end of the new one."""
        for begins in range(start, end, BLOCK_BYTES):
            write(self.new, read_exactly(self.old, begins, min(end, begins + BLOCK_BYTES)))

    def put(self, text: checkpoint.Writing, cut: Cut, number: int, newest: int, end: int) -> None:
        """Finish the checkpoint, and put both in their places. The caller has the writer's lock.

        number: of the new file, among those with its cut. newest: the id of its last event. end:
        where the old file ended when it was copied. Raises `LogUnavailable` if it is longer now.
        """
        disk, following = self.disk, self.disk.next_checkpoint(self.topic)
        os.fsync(self.new)
        old, new = checkpoint.fingerprint(self.old), checkpoint.fingerprint(self.new)
        if old.size != end:
            raise LogUnavailable(f"another program wrote to {disk.topic(self.topic)}: try again")
        write(self.file, text.end(cut, new, old, number))
        os.fsync(self.file)
        disk.put_draft(following)
        disk.put_draft(disk.topic(self.topic))
        since = checkpoint.since_of(cut, number)
        disk.publish(self.topic, Published(new.size, new.size, since, new.size, newest))
        following.replace(disk.checkpoint(self.topic))


@contextmanager
def replacing(disk: Disk, topic: str) -> Iterator[Replacing]:
    """Open a topic's file and both drafts. What is not put in its place is removed."""
    path = disk.topic(topic)
    with (
        opened_file(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as old,
        disk.draft(disk.next_checkpoint(topic)) as file,
        disk.draft(path) as new,
    ):
        yield Replacing(disk, topic, old, file, new)


def settle(disk: Disk, topic: str, since: int) -> None:
    """Complete or remove what replaced a topic's file; since: of its checkpoint."""
    disk.remove_drafts(topic)
    following = disk.next_checkpoint(topic)
    new = checkpoint.read(following)
    if new is not None and new.since == since:
        following.replace(disk.checkpoint(topic))
    else:
        following.unlink(missing_ok=True)
