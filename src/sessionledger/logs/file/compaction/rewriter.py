"""A topic's file with other events, or with another base.

As in a compaction, the new checkpoint does not count before the new file has its name. The files of
a topic with one cut are told apart by a number. Each begins with one space more than the one before
it: a checkpoint names its file by how that begins and ends. Nobody writes meanwhile.
"""

from __future__ import annotations

import os
from itertools import takewhile

from sessionledger.errors import LogUnavailable
from sessionledger.logs.compaction.contract import Rewriting
from sessionledger.logs.compaction.transfer import Transfer
from sessionledger.logs.file import lines
from sessionledger.logs.file.compaction.replacing import Replacing, replacing, settle
from sessionledger.logs.file.disk import Disk, write
from sessionledger.logs.file.index import TopicIndex
from sessionledger.logs.file.recovery import checkpoint

_SPACE = 0x20


def rewrite(disk: Disk, topic: str, index: TopicIndex, rewriting: Rewriting) -> None:
    """Replace events, and entries of the base. The caller has the lease and the writer's lock."""
    settle(disk, topic, index.checkpoint.since)
    disk.make_folder(disk.next_checkpoint(topic).parent)
    with replacing(disk, topic) as files:
        text, keys = checkpoint.Writing(), set(rewriting.keys)
        base = index.checkpoint.base
        write(files.file, text.rows(rewriting.row(row) if row.key in keys else row for row in base))
        _copy(files, index, rewriting)
        if checkpoint.fingerprint(files.old).end == checkpoint.fingerprint(files.new).end:
            write(files.new, b"\n")
        files.put(text, index.cut, index.checkpoint.number + 1, index.head.id, index.end)


def rebase(disk: Disk, topic: str, index: TopicIndex, transfer: Transfer) -> None:
    """Put the cut and the base of another log in the place of a topic's own, and remove the events
    up to that cut. The caller has the writer's lock."""
    if not index.end:
        raise LogUnavailable(f"{topic!r} has no events here to follow a cut")
    settle(disk, topic, index.checkpoint.since)
    disk.make_folder(disk.next_checkpoint(topic).parent)
    with replacing(disk, topic) as files:
        text, cut = checkpoint.Writing(), transfer.cut
        for rows in transfer.base():
            write(files.file, text.rows(rows))
        files.copy(index.offset_behind(cut.id), index.end)
        files.put(text, cut, 0, index.head.id, index.end)


def _copy(files: Replacing, index: TopicIndex, rewriting: Rewriting) -> None:
    """Copy a file, with stubs in the place of some events."""
    start = len(list(takewhile(lambda byte: byte == _SPACE, os.pread(files.old, 1 << 12, 0))))
    write(files.new, b" " * (start + 1))
    for stub in sorted((*rewriting.events, *rewriting.seals), key=lambda stub: stub.id):
        files.copy(start, index.offset_behind(stub.id - 1))
        write(files.new, lines.line_of(stub))
        start = index.offset_behind(stub.id)
    files.copy(start, index.end)
