"""The segments of an archive: files with the events that compactions removed.

1. A segment has the events from one cut to the next, in the lines of the file log.
2. Its last line closes it, and says where it begins and ends, and which segment is before it.
3. The newest seal names the newest segment. So one chain leads through all of them to the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from sessionledger.errors import CorruptLog, LogUnavailable
from sessionledger.logs.base import StoredEvent
from sessionledger.logs.chain import Head, head_after
from sessionledger.logs.compaction.contract import Cut, Segment

PAGE = 1000
NAME = re.compile(r"(?a)\.?([\w.-]+)\.(\d{16,20})-(\d{16,20})\.jsonl(\.new)?")
"""Topic, first and last id; and the end of the name of a segment that is not complete."""

_CLOSED = b'{"line":"closing",'
_LAST_BYTES = 4096
"""More than a closing line has."""


class Closing(msgspec.Struct, frozen=True, tag_field="line", tag="closing"):
    """What closes a segment: the heads before and after its events, and the segment before it."""

    start: Head
    end: Head
    previous: str | None


def name_of(topic: str, start: Head, end: Head) -> str:
    """The name of the segment with the events from one head to the next."""
    return f"{topic}.{start.id + 1:016d}-{end.id:016d}.jsonl"


def closing_of(path: Path) -> Closing:
    """What closes a file. Raises `CorruptLog` where nothing does, and for a missing one."""
    with _opened(path) as file:
        file.seek(max(0, file.seek(0, 2) - _LAST_BYTES))
        text, _, rest = file.read().rpartition(b"\n")
    last = b"" if rest else text.rpartition(b"\n")[2]
    try:
        return msgspec.json.decode(last, type=Closing)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CorruptLog(f"{path} was cut short: the line that closes it is not there") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise CorruptLog(f"the segment {path} is missing: put it back") from None
    except (OSError, ValueError) as error:  # which Python raises for a NUL or a lone surrogate
        raise LogUnavailable(f"the segment {str(path)!r} can't be read: {error}") from error


class Archive:
    """The removed events of a topic. Raises `CorruptLog` for a segment that is missing or another.

    start: the head before its first event. It is empty, unless the archive was begun later.
    segments: the files, in order.
    """

    def __init__(self, folder: Path, topic: str, cut: Cut, last: Segment | None) -> None:
        """last: what the newest seal names."""
        self.start, name = cut.head, None if last is None else last.name
        self.segments: list[tuple[Path, Closing]] = []
        while name is not None:
            path = folder / Path(name).name
            closing = closing_of(path)
            if closing.end != self.start or name != name_of(topic, closing.start, closing.end):
                raise CorruptLog(f"{path} holds other events than the segment of this name")
            self.segments.insert(0, (path, closing))
            self.start, name = closing.start, closing.previous

    def segment_of(self, id: int) -> Path | None:
        """The segment that has, or should have, the event of an id."""
        return next((path for path, closing in self.segments if closing.end.id >= id), None)

    def pages(self, after: int) -> Iterator[list[StoredEvent]]:
        """The events with an id above `after`, in order. A damaged line is a damaged event."""
        for path, closing in self.segments:
            if closing.end.id > after:
                yield from segment_pages(path, closing, after)


def segment_pages(path: Path, closing: Closing, after: int) -> Iterator[list[StoredEvent]]:
    """The events of a segment with an id above `after`, in order."""
    from sessionledger.logs.file import lines  # the whole log of files comes with it

    head, page = closing.start, list[StoredEvent]()
    with _opened(path) as file:
        for line in file:
            if not line.startswith(_CLOSED):
                event = lines.event_of(line, head.id)
                head = head_after(event)
                page += [event] if event.id > after else []
            if len(page) == PAGE:
                yield page
                page = []
    if page:
        yield page
    if head != closing.end:
        raise CorruptLog(f"{path} lacks the events after {head.id}")
