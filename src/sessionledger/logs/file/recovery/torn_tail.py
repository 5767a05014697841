"""How the end of a topic's file is repaired, behind its durable offset.

1. Bytes after the last line end are kept if they are a whole event, which then lacks its line end.
   Otherwise they are torn, and are cut.
2. The last events are cut if they are of a unit whose end is missing.
3. Everything else stays.

This is pure: the caller says how the file is read.
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


class Repair(NamedTuple):
    """Up to where the file is kept, and whether a line end has to be added there."""

    end: int
    lacks_newline: bool


def repair_of(read: Read, start: int, end: int) -> Repair:
    """How to repair the bytes from `start`, where a line begins, up to the file's `end`."""
    backwards = _backwards(read, start, end)
    offset, rest = next(backwards, (end, b""))
    whole = bool(rest) and lines.is_whole(rest)
    if whole:
        backwards = chain([(offset, rest)], backwards)
    cut = _start_of_half_a_unit(
        (begins, lines.event_of(line, 0)) for begins, line in backwards if line.strip()
    )
    if cut is not None:
        return Repair(cut, False)
    return Repair(end if whole else offset, whole)


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
    """The lines with their offsets, the last one first. What follows the last line end counts as a
    line, and may be empty."""
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
