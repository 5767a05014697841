"""What is wrong with a ledger of files as it stands, told without opening it as a ledger.

Nothing is mended: no tail is cut, nothing is published, and no file is made.
"""

from __future__ import annotations

import fcntl
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from sessionledger.errors import CorruptLog, LogUnavailable
from sessionledger.findings import Finding, Findings
from sessionledger.logs.arguments import check_name
from sessionledger.logs.base import Check, Row, StoredEvent
from sessionledger.logs.embedded.permissions import look_around, look_at_file, look_at_folder
from sessionledger.logs.file import consumers
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.errors import TOPICS, check_place, explained
from sessionledger.logs.file.index import Image, read_exactly, stamp_of
from sessionledger.logs.file.recovery.durable_offset import Published
from sessionledger.logs.file.recovery.torn_tail import worth_of
from sessionledger.logs.file.refresh import ADVICE, begin, opened


class _View:
    """A topic up to where its file was whole when it was looked at.

    rows and folded: those that a log has in memory, None where nobody keeps any. Nor are there any
    to compare with events where some were removed, since rows go on from what these made of them.
    """

    chained = True

    def __init__(self, image: Image, rows: Sequence[Row], folded: int | None) -> None:
        self.head = image.head.id if len(image) else 0
        self.folded = folded if self.head else 0
        if image.origin.head.id:
            self.folded = None
        self._image = image
        self._rows = sorted(rows, key=lambda row: row.key)

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        return self._image.after(after, limit)

    def rows(self, after: bytes, limit: int) -> list[Row]:
        start = bisect_right(self._rows, after, key=lambda row: row.key)
        return self._rows[start : start + limit]


def examine(
    disk: Disk, topic: str, check: Check, rows: Sequence[Row] = (), folded: int | None = None
) -> list[Finding]:
    """What is wrong with the folder, and what the check finds in the topic.

    Raises `LogUnavailable` or `NotALedger` where nothing can be told.
    """
    check_name("topic", topic)
    found = Findings()
    with explained(disk.root):
        check_place(disk.root)
        if not (disk.root / TOPICS).is_dir():
            raise LogUnavailable(f"there is no ledger at {disk.root}")
        _look_at_permissions(disk.root, found)
        _look_at_cursors(disk, found)
        image = _read(disk, topic, found)
        return found.all() + list(check(_View(image, rows, folded)))


def _read(disk: Disk, topic: str, found: Findings) -> Image:
    """The topic up to where its file is whole, or durable while somebody writes."""
    path = disk.topic(topic)
    file = opened(path)
    try:
        image, published = _begin(disk, topic, file, found)
        durable = 0 if published is None else published.durable
        size = 0 if file is None else os.fstat(file).st_size
        if size < durable:
            problem = f"it has {size} bytes, and {durable} were acknowledged: events were removed"
            found.add("log_cut_short", str(path), problem, ADVICE)
        if file is not None:
            image.stamp = stamp_of(os.fstat(file))
            image.scan(file, _whole_end(disk, path, file, min(durable, size), found), None)
    finally:
        if file is not None:
            os.close(file)
    return image


def _begin(
    disk: Disk, topic: str, file: int | None, found: Findings
) -> tuple[Image, Published | None]:
    image = Image(disk.topic(topic))
    try:
        return begin(disk, topic, file, image)
    except CorruptLog as error:
        if not image.is_there(file):
            raise LogUnavailable(f"{image.path} was emptied meanwhile: examine it again") from None
        found.add("origin_wrong", str(disk.origin(topic)), str(error), ADVICE)
        return image, None


def _whole_end(disk: Disk, path: Path, file: int, durable: int, found: Findings) -> int:
    with _nobody_writes(disk.root / "ledger.lock") as quiet:
        if not quiet:
            return durable
        size = os.fstat(file).st_size
        worth = worth_of(lambda begin, end: read_exactly(file, begin, end), durable, size)
    if worth.end < size:
        problem = f"its last {size - worth.end} bytes are no whole events: a writer died over them"
        found.add("torn_tail", str(path), problem, "nothing: the next to read or append cuts them")
    return worth.end


@contextmanager
def _nobody_writes(lock: Path) -> Iterator[bool]:
    """Whether nobody writes, for as long as the block lasts."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        yield _shares(file)
    finally:
        os.close(file)


def _shares(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _look_at_cursors(disk: Disk, found: Findings) -> None:
    for path in sorted((disk.root / "consumers").glob("*.json")):
        try:
            consumers.found_in(path)
        except CorruptLog:
            problem = "it can't be read, so its consumer can't go on"
            remedy = f"rm {quote(str(path))}: its consumer then begins anew"
            found.add("cursor_damaged", str(path), problem, remedy)


def _look_at_permissions(root: Path, found: Findings) -> None:
    look_around(root.parent, found)
    look_at_folder(root, found)
    for path in sorted(root.rglob("*")):
        (look_at_folder if path.is_dir() else look_at_file)(path, found)
