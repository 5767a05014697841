"""Replacing events of a topic's file: another file takes its place, with the same cut.

As in a compaction, the new checkpoint does not count before the new file has its name. The files of
a topic with one cut are told apart by a number. Each begins with one space more than the one before
it: a checkpoint names its file by how that begins and ends. Nobody writes meanwhile.
"""

from __future__ import annotations

import os
from itertools import takewhile

from sessionledger.logs.compaction.contract import Rewriting
from sessionledger.logs.file import lines
from sessionledger.logs.file.compaction.compactor import copy_bytes, settle
from sessionledger.logs.file.disk import Disk, write
from sessionledger.logs.file.errors import opened_file
from sessionledger.logs.file.index import TopicIndex
from sessionledger.logs.file.recovery import checkpoint
from sessionledger.logs.file.recovery.durable_offset import Published

_SPACE = 0x20


def rewrite(disk: Disk, topic: str, index: TopicIndex, rewriting: Rewriting) -> None:
    """Replace events, and entries of the base. The caller has the lease and the writer's lock."""
    path, following, cut = disk.topic(topic), disk.next_checkpoint(topic), index.cut
    settle(disk, topic, index.checkpoint.since)
    disk.make_folder(following.parent)
    with (
        opened_file(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as old,
        disk.draft(following) as file,
        disk.draft(path) as new,
    ):
        text, keys = checkpoint.Writing(), set(rewriting.keys)
        base = index.checkpoint.base
        write(file, text.rows(rewriting.row(row) if row.key in keys else row for row in base))
        _copy(old, new, index, rewriting)
        before, after = checkpoint.fingerprint(old), checkpoint.fingerprint(new)
        if before.end == after.end:
            write(new, b"\n")
            after = checkpoint.fingerprint(new)
        os.fsync(new)
        number = index.checkpoint.number + 1
        write(file, text.end(cut, after, before, number))
        os.fsync(file)
        disk.put_draft(following)
        disk.put_draft(path)
    end, since = after.size, checkpoint.since_of(cut, number)
    disk.publish(topic, Published(end, end, since, end, index.head.id))
    following.replace(disk.checkpoint(topic))


def _copy(old: int, new: int, index: TopicIndex, rewriting: Rewriting) -> None:
    """Copy a file, with stubs in the place of some events."""
    start = len(list(takewhile(lambda byte: byte == _SPACE, os.pread(old, 1 << 12, 0))))
    write(new, b" " * (start + 1))
    for stub in sorted((*rewriting.events, *rewriting.seals), key=lambda stub: stub.id):
        copy_bytes(old, new, start, index.offset_behind(stub.id - 1))
        write(new, lines.line_of(stub))
        start = index.offset_behind(stub.id)
    copy_bytes(old, new, start, index.end)
