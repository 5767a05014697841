"""What a topic continues from after events were removed: its cut, and the base of the rows.

Two rules say which checkpoint counts, at whatever moment a compaction was killed:

1. A checkpoint names the file with the remaining events, and the file that this one replaces. A
   new one is written beside the old one. It does not count while the replaced file is in its place.
2. Once there is a checkpoint, the topic's file is always one that it names. Any other is older, or
   of a copy.

The file has a line of JSON for each row, in the order of their keys. Behind them are a line that
says the rest, and a hash of all. Without the hash a lost row would bring its session back. The hash
begins with a word of its own. So a version from before compactions takes the file for a damaged
one. It would take the remaining events for all of them.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from sessionledger.errors import CorruptLog
from sessionledger.logs.base import Row
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.contract import WHOLE, Cut
from sessionledger.logs.file.recovery.durable_offset import SINCE_NUMBER

_PART_BYTES = 4096
_CHECK_BYTES = 65
_WORD = b"base\n"


class Fingerprint(msgspec.Struct, frozen=True):
    """What identifies a file that only grows: a size that it had, and the hashes of two parts.

    These are its beginning, and what stood at its end. Either is enough: where bytes were damaged
    since, only the events that stood there are lost.
    """

    size: int
    beginning: str
    end: str

    def matches(self, file: int | None) -> bool:
        """Whether the open file is that one, or a copy of it, which may have grown since."""
        if file is None:
            return False
        beginning, end = _parts(file, self.size)
        return beginning == self.beginning or end == self.end


class Checkpoint(msgspec.Struct, frozen=True):
    """The cut of a topic, the file with the events behind it, and the base in the order of keys.

    follows: that file as it was when it took its place, all of it flushed. replaced: the file that
    it took the place of. number: how often a file was replaced by one with the same cut.
    """

    cut: Cut
    follows: Fingerprint
    replaced: Fingerprint
    base: Sequence[Row]
    number: int = 0

    @property
    def since(self) -> int:
        """What tells a durable offset of that file from one of another file."""
        return since_of(self.cut, self.number)

    def row(self, key: bytes) -> Row | None:
        """The row of a key in the base."""
        start = bisect_left(self.base, key, key=_key)
        found = self.base[start : start + 1]
        return found[0] if found and found[0].key == key else None

    def rows(self, after: bytes, limit: int) -> list[Row]:
        """The rows of the base with a key above `after`, at most so many."""
        start = bisect_right(self.base, after, key=_key)
        return list(self.base[start : start + limit])


class _LastLine(msgspec.Struct):
    id: int
    hash: str | None
    seal: int
    follows: Fingerprint
    replaced: Fingerprint
    number: int = 0


NOTHING = Checkpoint(WHOLE, Fingerprint(0, "", ""), Fingerprint(0, "", ""), ())
"""The checkpoint of a topic that has all its events."""

_text = msgspec.json.Encoder()
_read_last_line = msgspec.json.Decoder(_LastLine).decode
_read_rows = msgspec.json.Decoder(Row).decode_lines


def since_of(cut: Cut, number: int) -> int:
    """As in `Checkpoint`: it grows with each file of a topic."""
    return cut.id + number * SINCE_NUMBER


def fingerprint(file: int) -> Fingerprint:
    """What identifies an open file from now on."""
    size = os.fstat(file).st_size
    return Fingerprint(size, *_parts(file, size))


class Writing:
    """The bytes of a checkpoint's file: those of the rows, and later those of the rest."""

    def __init__(self) -> None:
        self._hash = sha256(_WORD)

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Some more rows, in the order of their keys."""
        return self._seen(_text.encode_lines(rows))

    def end(self, cut: Cut, follows: Fingerprint, replaced: Fingerprint, number: int = 0) -> bytes:
        """What stands behind the rows."""
        line = _LastLine(cut.id, cut.head.hash, cut.seal, follows, replaced, number)
        text = self._seen(_text.encode(line) + b"\n")
        return b"%b%b\n" % (text, self._hash.hexdigest().encode())

    def _seen(self, text: bytes) -> bytes:
        self._hash.update(text)
        return text


def read(path: Path) -> Checkpoint | None:
    """The checkpoint in a file, None where there is none. Raises `CorruptLog`."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    body, check = text[:-_CHECK_BYTES], text[-_CHECK_BYTES:]
    if check != b"%b\n" % sha256(_WORD + body).hexdigest().encode():
        raise CorruptLog(f"{path} is damaged: what it holds of removed events stands nowhere else")
    rows, _, last = body[:-1].rpartition(b"\n")
    told = _read_last_line(last)
    cut = Cut(Head(told.id, told.hash), told.seal)
    return Checkpoint(cut, told.follows, told.replaced, tuple(_read_rows(rows)), told.number)


def in_force(path: Path, following: Path, file: int | None) -> Checkpoint:
    """The checkpoint that counts for the open file of a topic; None stands for a missing file.

    path, following: the files of the checkpoint and of the one that replaces it. Raises
    `CorruptLog`.
    """
    new = read(following)
    if new is not None and new.follows.matches(file):
        return new
    checkpoint = read(path)
    named = [] if new is None else [new.replaced]
    if checkpoint is not None:
        named.append(checkpoint.follows)
    if not all(one.matches(file) for one in named):
        raise CorruptLog(
            f"the topic's file is not the one that {path} continues with: an older copy of one of "
            "them was put back. Put back both from the same copy, or neither"
        )
    return checkpoint or NOTHING


def _parts(file: int, size: int) -> tuple[str, str]:
    """The hashes of the beginning and the end of so many bytes of an open file."""
    part = min(size // 2, _PART_BYTES)
    beginning, end = os.pread(file, part, 0), os.pread(file, part, size - part)
    return sha256(beginning).hexdigest(), sha256(end).hexdigest()


def _key(row: Row) -> bytes:
    return row.key
