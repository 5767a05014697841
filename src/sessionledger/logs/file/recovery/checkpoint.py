"""The head and the rows that a topic continues from after its events were removed.

Two rules say which checkpoint counts, at whatever moment an emptying was killed:

1. A new checkpoint is written beside the old one, and names the file whose events it replaces. It
   does not count while that file is in its place. It counts once another file is.
2. A topic's file is never one whose events its checkpoint replaces: such a file is an older copy.

The file has a line of JSON with the head, a line for each row, and a hash of all. Without the hash
a lost row would bring its session back.
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


class Fingerprint(msgspec.Struct, frozen=True):
    """What identifies a file that was emptied: its size, and the hash of its beginning."""

    size: int
    sha256: str

    def matches(self, file: int) -> bool:
        """Whether the open file is that one, a copy of it, or one that grew from it."""
        return self.size > 0 and _beginning(file, self.size) == self.sha256


class Checkpoint(msgspec.Struct, frozen=True):
    """The newest event that was removed, the file that had it, and all rows at that moment."""

    head: Head
    replaced: Fingerprint
    rows: Sequence[Row]


class _FirstLine(msgspec.Struct):
    id: int
    hash: str | None
    replaced: Fingerprint


NOTHING = Checkpoint(EMPTY, Fingerprint(0, ""), ())
"""The checkpoint of a topic that never lost an event."""

_text = msgspec.json.Encoder()
_read_first_line = msgspec.json.Decoder(_FirstLine).decode
_read_rows = msgspec.json.Decoder(Row).decode_lines


def fingerprint(file: int, size: int) -> Fingerprint:
    """What identifies an open file of that size."""
    return Fingerprint(size, _beginning(file, size))


def encode(checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint's file."""
    first = _FirstLine(checkpoint.head.id, checkpoint.head.hash, checkpoint.replaced)
    body = _text.encode(first) + b"\n" + _text.encode_lines(checkpoint.rows)
    return body + _check(body)


def read(path: Path) -> Checkpoint | None:
    """The checkpoint in a file, None where there is none. Raises `CorruptLog`."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    body, check = text[:-_CHECK_BYTES], text[-_CHECK_BYTES:]
    if check != _check(body):
        raise CorruptLog(f"{path} is damaged: what it holds of removed events stands nowhere else")
    first, _, rows = body.partition(b"\n")
    head = _read_first_line(first)
    return Checkpoint(Head(head.id, head.hash), head.replaced, tuple(_read_rows(rows)))


def in_force(path: Path, following: Path, file: int | None) -> Checkpoint:
    """The checkpoint that counts for the open file of a topic; None stands for a missing file.

    path, following: the files of the checkpoint and of the one that replaces it. Raises
    `CorruptLog`.
    """
    new = read(following)
    if new is not None and (file is None or not new.replaced.matches(file)):
        return new
    checkpoint = read(path) or NOTHING
    if file is not None and checkpoint.replaced.matches(file):
        raise CorruptLog(
            f"{path} replaces events that are back in the topic's file: an older copy of that file "
            f"was put back. Put back the {path.name} of the same copy, or remove it if it had none"
        )
    return checkpoint


def _check(body: bytes) -> bytes:
    return b"%b\n" % sha256(body).hexdigest().encode()


def _beginning(file: int, size: int) -> str:
    return sha256(os.pread(file, min(size, _PREFIX_BYTES), 0)).hexdigest()
