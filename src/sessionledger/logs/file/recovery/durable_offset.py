"""How far a topic's file is durable: its writer publishes that, and readers rely on it.

The record is a small file, written in place. It is flushed once by each process, before that
process first appends: after a loss of power it is there. It may then be older than the topic's
file, and never newer, because it is written after the flush. With `durability="normal"` nothing is
flushed. So there the record names the boot of the machine, and how far the file was flushed by
others. After another boot only that counts.

Beside the offset the record has two numbers:

- how far the file may reach while a batch is written: a reader can tell that batch from lines that
  another program appended;
- the event after which the file begins: it tells the offset of a file that was compacted from one
  of the file that replaced it. `SINCE_NUMBER` is added to it. A version from before marks takes
  that for a file that was replaced, and answers nothing more. It would not know what a mark ended.

A second line has the id of the newest event before the offset. Without it nobody could tell that
the last line is gone: no line follows that would show it. Older versions don't read that line. If
they write, it belongs to another offset, and does not count.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_ATTEMPTS = 100
_BYTES = 256
_RECORD = re.compile(rb"(\d+) (\d+) (\d+) ([^\s/]+)(?:/(\d+))? ([0-9a-f]{8})\n")
_NEWEST = re.compile(rb"(\d{20}) (\d{20}) ([0-9a-f]{8})\n")
_BOOT = Path("/proc/sys/kernel/random/boot_id")

SINCE_NUMBER = 10**18
"""Above every id. The number of a file is counted in it."""
FLUSHED = "-"
_UNKNOWN = "?"


class Published(NamedTuple):
    """Bytes up to `durable` are acknowledged; those up to `claimed` are being written.

    since: the id of the last event that was removed before the file began, 0 if there was no such.
    Each time that the file was rewritten adds `SINCE_NUMBER`.
    flushed: bytes up to there are known to be on the disk. newest: the id of the last event up to
    `durable`, 0 if it is not known.
    """

    durable: int
    claimed: int
    since: int
    flushed: int
    newest: int = 0


def publish(record: int, published: Published, boot: str) -> None:
    """Write an open record; `boot` is `FLUSHED`, or what `this_boot` answers."""
    text = _record(published, boot)
    if os.pwrite(record, text, 0) != len(text):
        raise OSError(errno.EIO, "only a part of a record was written")


def published(path: Path) -> Published | None:
    """What was published last; None where nothing was, or where it can't be read."""
    try:
        record = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return published_in(record)
    finally:
        os.close(record)


def published_in(record: int) -> Published | None:
    """What an open record says, as `published`."""
    # A record that is being written may be read half old and half new, which its check tells.
    for _ in range(_ATTEMPTS):
        text = os.pread(record, _BYTES, 0)
        found = _RECORD.match(text)
        if found is not None and found[6] == _check(found[0][:-10]):
            return _believed(found, _newest(text[found.end() :], int(found[1])))
    return None


def this_boot() -> str:
    """What names this boot of the machine; "?" where that is not known."""
    try:
        return _BOOT.read_text(encoding="ascii").strip() or _UNKNOWN
    except (OSError, ValueError):
        return _UNKNOWN


def _newest(line: bytes, durable: int) -> int:
    """The id in the second line, 0 if that belongs to another offset."""
    found = _NEWEST.match(line)
    whole = found is not None and found[3] == _check(found[0][:-10]) and int(found[1]) == durable
    return int(found[2]) if found is not None and whole else 0


def _believed(record: re.Match[bytes], newest: int) -> Published:
    durable, claimed, since = int(record[1]), int(record[2]), int(record[3])
    since -= SINCE_NUMBER if since >= SINCE_NUMBER else 0
    boot = record[4].decode(errors="replace")
    if boot == FLUSHED:
        return Published(durable, claimed, since, durable, newest)
    flushed = int(record[5] or 0)
    if boot == _UNKNOWN or boot != this_boot():
        return Published(flushed, flushed, since, flushed)
    return Published(durable, claimed, since, flushed, newest)


def _record(published: Published, boot: str) -> bytes:
    durable, claimed, since, flushed, newest = published
    whose = boot if boot == FLUSHED else f"{boot}/{flushed}"
    text = b"%020d %020d %020d %b" % (durable, claimed, since + SINCE_NUMBER, whose.encode())
    first = b"%b %b\n" % (text, _check(text))
    # A second line that stands there counts as long as its offset does.
    text = b"%020d %020d" % (durable, newest)
    return b"%b%b %b\n" % (first, text, _check(text)) if newest else first


def _check(text: bytes) -> bytes:
    return b"%08x" % crc32(text)
