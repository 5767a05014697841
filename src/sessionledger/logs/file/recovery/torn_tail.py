"""How the end of a topic's file is repaired, behind its durable offset.

The lines are walked from that offset on, with the head of the chain there. An event continues the
chain if it follows the event before it by its id and by its hashes. An event without hashes comes
from another program, and continues every chain.

1. The file is cut at the first line that does not continue the chain. If that is within a unit, it
   is cut where the unit begins. So it is if the end of the last unit is missing.
2. The last line may lack its line end. If it continues the chain, it gets one.
3. What another program appended is never cut. It has no hashes, or it follows the event before the
   line. If it stands behind the line, only the end of the file is cut. That is, bytes that are no
   whole event, and the last unit if its end is missing.
4. Nobody else appends to a topic that was compacted. What another program appended there is
   refused: it knows neither the live sessions nor the used tokens.
5. If nobody knows the durable offset, the line may have been damaged after it was acknowledged. It
   is cut only if nothing but the rest of its unit follows.

This is pure: the caller says how the file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from sessionledger.errors import CorruptLog
from sessionledger.logs import chain
from sessionledger.logs.base import StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.file import lines

Read: TypeAlias = Callable[[int, int], bytes]
"""The bytes of the file from one offset up to another."""

_BLOCK = 1 << 16
_ALONE = (1, 1)


class Known(NamedTuple):
    """What is known of the place where the tail begins, at the end of a line.

    head: the newest event before it. is_published: whether its writer published that offset.
    is_cut: whether the topic was compacted.
    """

    topic: str
    head: Head
    is_published: bool
    is_cut: bool = False


class Repair(NamedTuple):
    """Up to where the file is kept, and whether a line end has to be added there."""

    end: int
    lacks_newline: bool


def repair_of(read: Read, start: int, end: int, known: Known) -> Repair:
    """How to repair the bytes from `start`, where a line begins, up to the file's `end`.

    Raises `CorruptLog` for what another program appended to a topic that was compacted.
    """
    walk, whole_end, lacks_newline = _Walk(known), start, False
    for offset, line in _lines(read, start, end):
        if line.strip():
            walk.see(offset, line)
        behind = offset + len(line)
        lacks_newline = behind == end and _ends_whole(line)
        whole_end = behind + 1 if behind < end else end if lacks_newline else offset
    if walk.broken is not None:
        return Repair(walk.broken, False)
    if walk.begun is not None:
        return Repair(walk.begun, False)
    return Repair(whole_end, lacks_newline)


def continues(topic: str, event: StoredEvent, head: Head) -> bool:
    """Whether an event that is chained, with the id of its line, follows the head."""
    verdict = chain.verify(topic, (event,), head)
    return isinstance(verdict, Head) and event.headers.get(chain.PREV_HEADER) == head.hash


def is_chained(event: StoredEvent) -> bool:
    """Whether an event carries, or carried, the hashes that we write."""
    return any(name.startswith(chain.RESERVED_PREFIX) for name in event.headers)


class _Walk:
    """The lines of a tail, one after the other.

    broken: where the file is to be cut, once a line did not continue the chain. begun: where the
    unit begins whose end is missing so far.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._head = known.head
        self._unit = _ALONE
        self._rest: tuple[int, int] | None = None
        self.begun: int | None = None
        self.broken: int | None = None

    def see(self, offset: int, line: bytes) -> None:
        """The next line, which is not blank."""
        event = lines.whole_event(line)
        events = [event] if event is not None else lines.whole_events(line)
        if self.broken is None and not (event is not None and self._continues(event)):
            self.broken = offset if self.begun is None else self.begun
            self._rest = None if self.begun is None else self._unit
        if self._known.is_cut:
            self._refuse_others(offset, events)
        if self.broken is not None:
            for one in events:
                if self._forbids(one):
                    self.broken = None
                    self._head = _after(one, self._head)
        self._count(offset, _ALONE if event is None else lines.unit_of(event))

    def _continues(self, event: StoredEvent) -> bool:
        if is_chained(event) and not continues(self._known.topic, event, self._head):
            return False
        self._head = _after(event, self._head)
        return True

    def _refuse_others(self, offset: int, events: Sequence[StoredEvent]) -> None:
        broken, topic = self.broken is not None, self._known.topic
        for one in events:
            if not is_chained(one) or (broken and continues(topic, one, self._head)):
                raise CorruptLog(
                    f"another program appended to topic {topic!r} at byte {offset} of its file, "
                    "and the topic was compacted: stop that program, and cut the file there with "
                    f"`truncate -s {offset}`"
                )

    def _forbids(self, behind: StoredEvent) -> bool:
        """Whether an event from the broken line on forbids the cut."""
        if not is_chained(behind) or continues(self._known.topic, behind, self._head):
            return True
        if self._known.is_published:
            return False
        before, self._rest = self._rest, lines.unit_of(behind)
        number, of = self._rest
        if before is None:
            return number == 1
        return of != before[1] or number <= before[0]

    def _count(self, offset: int, unit: tuple[int, int]) -> None:
        number, of = unit
        follows = self.begun is not None and unit == (self._unit[0] + 1, self._unit[1])
        if number == of:
            self.begun = None
        elif not follows:
            self.begun = offset
        self._unit = unit


def _after(event: StoredEvent, head: Head) -> Head:
    """The head after an event: one of another program may have any id."""
    return chain.head_after(event) if is_chained(event) else Head(max(event.id, head.id + 1), None)


def _ends_whole(line: bytes) -> bool:
    """Whether the line, or the last piece of it, is an event."""
    return lines.whole_event(line[lines.beginnings(line)[-1] :]) is not None


def _lines(read: Read, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The lines with their offsets. What follows the last line end is one too, if anything does."""
    known, offset = b"", start
    for begins in range(start, end, _BLOCK):
        known += read(begins, min(end, begins + _BLOCK))
        *whole, known = known.split(b"\n")
        for line in whole:
            yield offset, line
            offset += len(line) + 1
    if known:
        yield offset, known
