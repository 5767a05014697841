"""How far a topic's file is durable: what its writer publishes, and readers go by.

A small file, written in place and never flushed: what it says may be older than the truth after a
loss of power, never newer, because it is written after the flush. It is newer only where nothing
is flushed at all (`durability="normal"`); then it names the boot of the machine, and counts for
nothing after another one. Beside the offset it says how far the file may reach while a batch is
being written, so that a reader can tell this from lines that somebody else appended; and after
which event the file begins, so that the offset is not taken for one of a file that was emptied.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_ATTEMPTS = 100
_BYTES = 128
_RECORD = re.compile(rb"(\d+) (\d+) (\d+) (\S+) ([0-9a-f]{8})\n")
_BOOT = Path("/proc/sys/kernel/random/boot_id")

FLUSHED = "-"
_UNKNOWN = "?"


class Published(NamedTuple):
    """Up to `durable` all is acknowledged; what is beyond, up to `claimed`, is being written.

    since: the last id of what was removed before the file began, 0 if nothing was.
    """

    durable: int
    claimed: int
    since: int


def publish(path: Path, published: Published, boot: str) -> None:
    """Say how far the file is durable; `boot` is `FLUSHED`, or what `this_boot` answers."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(file, _record(published, boot), 0)
    finally:
        os.close(file)


def published(path: Path) -> Published | None:
    """What was last published; None where nothing was, or where it can't be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # A record that is being written may be read half old and half new: its check tells.
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
    return Published(int(record[1]), int(record[2]), int(record[3]))


def _record(published: Published, boot: str) -> bytes:
    text = b"%020d %020d %020d %b" % (*published, boot.encode())
    return b"%b %b\n" % (text, _check(text))


def _check(text: bytes) -> bytes:
    return b"%08x" % crc32(text)
