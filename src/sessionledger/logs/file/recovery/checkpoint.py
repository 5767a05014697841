"""What a topic's file goes on from, once the events before it were removed: their head, and rows.

Two small rules say which origin counts, whatever moment an emptying was killed at:

1. A new one is written beside the old one, and names the file whose events it stands for. While
   that file is in its place the new one does not count; once another file is, it does.
2. The file of a topic is never one whose events its origin stands for: that is an older copy.

A line of JSON with the head, one for each row, and the hash of them all: a row that is lost would
bring its session back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from sessionledger.errors import CorruptLog
from sessionledger.logs.base import Row
from sessionledger.logs.chain import EMPTY, Head

_PREFIX_BYTES = 4096
_CHECK_BYTES = 65


class Replaced(msgspec.Struct, frozen=True):
    """The file that was emptied: how long it was, and what it began with."""

    size: int
    sha256: str

    def is_it(self, file: int) -> bool:
        """Whether the open file is that one, or a copy of it, or what became of it since."""
        return self.size > 0 and _beginning(file, self.size) == self.sha256


class Origin(msgspec.Struct, frozen=True):
    """The newest event that was removed, the file it was removed from, and all rows then."""

    head: Head
    replaced: Replaced
    rows: Sequence[Row]


class _Told(msgspec.Struct):
    id: int
    hash: str | None
    replaced: Replaced


NOTHING = Origin(EMPTY, Replaced(0, ""), ())
"""The origin of a topic whose file holds all events that there ever were."""

_text = msgspec.json.Encoder()
_read_told = msgspec.json.Decoder(_Told).decode
_read_rows = msgspec.json.Decoder(Row).decode_lines


def replaced(file: int, size: int) -> Replaced:
    """What names an open file of that size."""
    return Replaced(size, _beginning(file, size))


def encode(origin: Origin) -> bytes:
    """The origin as it stands in its file."""
    told = _Told(origin.head.id, origin.head.hash, origin.replaced)
    body = _text.encode(told) + b"\n" + _text.encode_lines(origin.rows)
    return body + _check(body)


def read(path: Path) -> Origin | None:
    """The origin in a file, None where there is none. Raises `CorruptLog`."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    body, check = text[:-_CHECK_BYTES], text[-_CHECK_BYTES:]
    if check != _check(body):
        raise CorruptLog(f"{path} is damaged: what it holds of removed events stands nowhere else")
    told, _, rows = body.partition(b"\n")
    head = _read_told(told)
    return Origin(Head(head.id, head.hash), head.replaced, tuple(_read_rows(rows)))


def in_force(path: Path, coming: Path, file: int | None) -> Origin:
    """What the open file of a topic goes on from; None stands for a file that is not there.

    path and coming: where the origin stands, and where a new one is written. Raises `CorruptLog`.
    """
    new = read(coming)
    if new is not None and (file is None or not new.replaced.is_it(file)):
        return new
    origin = read(path) or NOTHING
    if file is not None and origin.replaced.is_it(file):
        raise CorruptLog(
            f"{path} stands for events that are back in the topic's file: an older copy was put in "
            f"its place, which belongs to an older {path.name}, or to none"
        )
    return origin


def _check(body: bytes) -> bytes:
    return b"%b\n" % sha256(body).hexdigest().encode()


def _beginning(file: int, size: int) -> str:
    return sha256(os.pread(file, min(size, _PREFIX_BYTES), 0)).hexdigest()
