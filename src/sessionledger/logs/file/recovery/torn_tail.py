"""What the end of a file is worth, beyond what was published: pure, but for how it is read.

1. Bytes after the last line are kept if they are a whole event, whose line end is then missing;
   else they are torn, and go.
2. The last events go if they are of a unit whose end is missing.
3. All else stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple, TypeAlias

from sessionledger.logs.base import StoredEvent
from sessionledger.logs.file import lines

Read: TypeAlias = Callable[[int, int], bytes]
"""The bytes of the file from one offset up to another."""

_BLOCK = 1 << 16


class Worth(NamedTuple):
    """Up to where the file is to be kept, and whether a line end has to be added there."""

    end: int
    lacks_newline: bool


def worth_of(read: Read, start: int, end: int) -> Worth:
    """What the bytes from `start`, where a line begins, up to the file's `end` are worth."""
    backwards = _backwards(read, start, end)
    offset, rest = next(backwards, (end, b""))
    whole = bool(rest) and lines.is_whole(rest)
    if whole:
        backwards = chain([(offset, rest)], backwards)
    cut = _start_of_half_a_unit(
        (begins, lines.event_of(line, 0)) for begins, line in backwards if line.strip()
    )
    if cut is not None:
        return Worth(cut, False)
    return Worth(end if whole else offset, whole)


def _start_of_half_a_unit(backwards: Iterator[tuple[int, StoredEvent]]) -> int | None:
    """Where the unit of the last event begins, if its end is missing."""
    expected: tuple[int, int] | None = None
    begins = None
    for offset, event in backwards:
        number, of = lines.unit_of(event)
        if expected is None and number == of:
            return None
        if expected is not None and (number, of) != expected:
            return begins
        begins, expected = offset, (number - 1, of)
        if number == 1:
            return begins
    return begins


def _backwards(read: Read, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The lines, the last first, with their offsets; what follows the last line end is one too,
    and may be empty."""
    known, behind = b"", end
    while behind > start:
        before = max(start, behind - _BLOCK)
        known = read(before, behind) + known
        first, *whole = known.split(b"\n")
        offset = before + len(known)
        for line in reversed(whole):
            offset -= len(line)
            yield offset, line
            offset -= 1
        known, behind = first, before
    if end > start:
        yield start, known
