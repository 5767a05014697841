"""How far a topic's file is durable: its writer publishes that, and readers rely on it.

The record is a small file, written in place and never flushed. After a loss of power it may be
older than the topic's file, and never newer, because it is written after the flush. With
`durability="normal"` nothing is flushed, so there the record names the boot of the machine, and
does not count after another boot.

Beside the offset the record has two numbers:

- how far the file may reach while a batch is written: a reader can tell that batch from lines that
  another program appended;
- the event after which the file begins: it tells the offset of a file that was emptied from one of
  the file that replaced it. `_FORMAT` is added to it. A version from before marks takes that for a
  file that was replaced, and answers nothing more. It would not know what a mark ended.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from sessionledger.ownership import Owner, open_companion

_ATTEMPTS = 100
_BYTES = 128
_RECORD = re.compile(rb"(\d+) (\d+) (\d+) (\S+) ([0-9a-f]{8})\n")
_BOOT = Path("/proc/sys/kernel/random/boot_id")

_FORMAT = 10**18
FLUSHED = "-"
_UNKNOWN = "?"


class Published(NamedTuple):
    """Bytes up to `durable` are acknowledged; those up to `claimed` are being written.

    since: the id of the last event that was removed before the file began, 0 if there was no such.
    """

    durable: int
    claimed: int
    since: int


def publish(path: Path, published: Published, boot: str, owner: Owner) -> None:
    """Say how far the file is durable; `boot` is `FLUSHED`, or what `this_boot` answers."""
    file = open_companion(path, owner, os.O_WRONLY)
    try:
        os.pwrite(file, _record(published, boot), 0)
    finally:
        os.close(file)


def published(path: Path) -> Published | None:
    """What was published last; None where nothing was, or where it can't be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # A record that is being written may be read half old and half new, which its check tells.
        for _ in range(_ATTEMPTS):
            found = _RECORD.match(os.pread(file, _BYTES, 0))
            if found is not None and found[5] == _check(found[0][:-10]):
                return _believed(found)
    finally:
        os.close(file)
    return None


def this_boot() -> str:
    """What names this boot of the machine; "?" where that is not known."""
    try:
        return _BOOT.read_text(encoding="ascii").strip() or _UNKNOWN
    except (OSError, ValueError):
        return _UNKNOWN


def _believed(record: re.Match[bytes]) -> Published | None:
    boot = record[4].decode(errors="replace")
    if boot != FLUSHED and (boot == _UNKNOWN or boot != this_boot()):
        return None
    return Published(int(record[1]), int(record[2]), int(record[3]) % _FORMAT)


def _record(published: Published, boot: str) -> bytes:
    durable, claimed, since = published
    text = b"%020d %020d %020d %b" % (durable, claimed, since + _FORMAT, boot.encode())
    return b"%b %b\n" % (text, _check(text))


def _check(text: bytes) -> bytes:
    return b"%08x" % crc32(text)
