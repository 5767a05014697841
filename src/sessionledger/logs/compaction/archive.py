"""Writing an archive: the events that a compaction is about to remove, as a segment.

1. A segment is written under another name, flushed, and renamed. Then its folder is flushed. Only
   then the compaction goes on. So every event is in the ledger, in the archive, or in both.
2. What an interrupted compaction left is removed first: segments that no seal names. Their events
   are still in the ledger, which is checked.
3. A folder that holds anything else is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import msgspec

from sessionledger.errors import CorruptLog, InvalidSession, MaintenanceRunning
from sessionledger.logs.base import StoredEvent
from sessionledger.logs.chain import Head, head_after
from sessionledger.logs.compaction.contract import Cut, Removal, Segment
from sessionledger.logs.compaction.segments import (
    NAME,
    PAGE,
    Archive,
    Closing,
    closing_of,
    name_of,
    segment_pages,
)
from sessionledger.logs.file import lines
from sessionledger.logs.file.errors import translated_errors
from sessionledger.ownership import check_ledger, flush, give, owner_of

Read: TypeAlias = Callable[[int, int], list[StoredEvent]]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Archiving:
    """Archives what one compaction of a topic removes, into a folder.

    ledger: where that says that it is. before: the cut that the topic has. last: the segment that
    the seal of that cut names.
    """

    def __init__(
        self, folder: Path, ledger: str, topic: str, before: Cut, last: Segment | None
    ) -> None:
        try:
            self._folder, self._ledger = Path(os.path.realpath(folder)), Path(ledger)
        except ValueError:  # a NUL or a lone surrogate
            raise InvalidSession("archive", "is no path of this system") from None
        self._topic, self._before, self._last = topic, before, last

    def keep(self, removal: Removal, cut: Cut, read: Read) -> Segment | None:
        """Archive the events to be removed, if there are any: a `Keep`, but for the removal."""
        check_cut(self._before, cut)
        with translated_errors(self._folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for path in self.check(read):
                path.unlink()
            return self._write(removal.head, read) if removal.events else None

    def check(self, read: Read) -> list[Path]:
        """What an interrupted compaction left. Raises `InvalidSession` for any other file."""
        if self._ledger in (self._folder, *self._folder.parents) and self._ledger.exists():
            raise self._refusal("the ledger itself is there")
        left, sealed = list[Path](), list[Path]()
        with translated_errors(self._folder):
            if self._folder.exists():
                check_ledger(self._folder)
                for path in sorted(self._folder.iterdir()):
                    found = NAME.fullmatch(path.name)
                    if found is None or path.is_symlink() or not path.is_file():
                        raise self._refusal(f"it holds something else, {path.name}")
                    if found[1] == self._topic:
                        is_left = found[4] or self._is_unsealed(path, int(found[3]), read)
                        (left if is_left else sealed).append(path)
        if sealed:
            self._check_last(sealed)
        return left

    def _is_unsealed(self, path: Path, last: int, read: Read) -> bool:
        """Whether no seal names a segment of this ledger, since its events are still there."""
        if last <= self._before.id:
            return False
        if [head_after(event) for event in read(last - 1, 1)] != [_end_of(path)]:
            raise self._refusal(f"this ledger never held the events of {path.name}")
        return True

    def _check_last(self, sealed: list[Path]) -> None:
        last = self._folder / ("" if self._last is None else self._last.name)
        if last not in sealed or _end_of(last) != self._before.head:
            raise self._refusal(f"the newest seal names no such segment as {sealed[-1].name}")

    def _write(self, end: Head, read: Read) -> Segment:
        start, previous = self._before.head, None if self._last is None else self._last.name
        path = self._folder / name_of(self._topic, start, end)
        draft = path.with_name(f".{path.name}.new")
        with _drafted(draft, self._folder) as file:
            file.writelines(map(lines.line_of, self._events(end, read)))
            file.write(msgspec.json.encode(Closing(start, end, previous)) + b"\n")
        draft.rename(path)
        flush(self._folder)
        flush(self._folder.parent)
        return Segment(path.name, str(self._folder), previous)

    def _events(self, end: Head, read: Read) -> Iterator[StoredEvent]:
        head = self._before.head
        while page := [event for event in read(head.id, PAGE) if event.id <= end.id]:
            yield from page
            head = head_after(page[-1])
        if head != end:
            raise MaintenanceRunning("another program changed the events meanwhile: try again")

    def _refusal(self, problem: str) -> InvalidSession:
        hint = "name a folder for this ledger's archive alone, such as an empty one"
        return InvalidSession("archive", f"can't be {self._folder}: {problem}; {hint}")


def rewrite_archive(
    folder: Path, topic: str, cut: Cut, last: Segment, stubs: Mapping[int, StoredEvent]
) -> None:
    """Replace events of an archive by their stubs, one segment after the other."""
    for path, closing in Archive(folder, topic, cut, last).segments:
        if any(closing.start.id < id <= closing.end.id for id in stubs):
            draft = path.with_name(f".{path.name}.new")
            draft.unlink(missing_ok=True)  # of a process that was killed
            with _drafted(draft, folder) as file:
                for page in segment_pages(path, closing, 0):
                    file.writelines(lines.line_of(stubs.get(event.id, event)) for event in page)
                file.write(msgspec.json.encode(closing) + b"\n")
            draft.rename(path)
            flush(folder)


@contextmanager
def _drafted(draft: Path, folder: Path) -> Iterator[BinaryIO]:
    """A new file, which is flushed at the end, or removed."""
    try:
        with os.fdopen(os.open(draft, _NEW, 0o600), "wb") as file:
            give(file.fileno(), owner_of(folder)._replace(mode=0o600))
            yield file
            file.flush()
            os.fsync(file.fileno())
    except Exception:
        with suppress(OSError):
            draft.unlink()
        raise


def check_cut(before: Cut, cut: Cut) -> None:
    """Raises `MaintenanceRunning` if a topic was compacted since its cut was `before`."""
    if cut != before:
        raise MaintenanceRunning("another compaction was faster: try again")


def _end_of(path: Path) -> Head | None:
    with suppress(CorruptLog):
        return closing_of(path).end
    return None
