"""What is wrong with a ledger of files, found without opening it as a ledger.

Nothing is repaired: no tail is cut, nothing is published, and no file is made.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from sessionledger.errors import CorruptLog, LogUnavailable, NoLedger
from sessionledger.findings import Finding, Findings
from sessionledger.logs.arguments import check_name
from sessionledger.logs.base import Check, Row, StoredEvent
from sessionledger.logs.compaction.contract import WHOLE, Cut
from sessionledger.logs.embedded.permissions import check_file, check_folder, check_surroundings
from sessionledger.logs.file import consumers
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.errors import TOPICS, check_location, translated_errors
from sessionledger.logs.file.index import TopicIndex, reader_of, stamp_of
from sessionledger.logs.file.recovery.durable_offset import Published
from sessionledger.logs.file.recovery.torn_tail import Known, repair_of
from sessionledger.logs.file.refresh import ADVICE, durable_end, index_of, known_of, opened
from sessionledger.logs.snapshot import Snapshot


class InMemory(NamedTuple):
    """The rows that a log has in memory, of a file behind some cut.

    folded: up to which event; None where nobody keeps any, or where they tell nothing.
    """

    rows: Sequence[Row]
    folded: int | None
    cut: Cut


NOBODY = InMemory((), None, WHOLE)


class _View(Snapshot):
    """A topic up to where its file was whole when it was read."""

    def __init__(
        self, index: TopicIndex, known: InMemory, cursors: Mapping[tuple[str, str], int]
    ) -> None:
        head, cut = index.head.id, index.cut
        folded = known.folded if head else 0
        if known.cut != cut:
            folded = None
        super().__init__((), known.rows, head=head, folded=folded, cut=cut, cursors=cursors)
        self._index = index

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        return self._index.after(after, limit)

    def base(self, after: bytes, limit: int) -> list[Row]:
        return self._index.checkpoint.rows(after, limit)


def examine(disk: Disk, topic: str, check: Check, known: InMemory = NOBODY) -> list[Finding]:
    """What is wrong with the folder, and what the check finds in the topic.

    Raises `LogUnavailable` or `NotALedger` where nothing can be told.
    """
    check_name("topic", topic)
    found = Findings()
    with translated_errors(disk.root):
        check_location(disk.root)
        if not (disk.root / TOPICS).is_dir():
            raise NoLedger(disk.root)
        _check_permissions(disk.root, found)
        cursors = _cursors(disk, found)
        index = _read(disk, topic, found)
        return found.all() + list(check(_View(index, known, cursors)))


def _read(disk: Disk, topic: str, found: Findings) -> TopicIndex:
    """The topic up to where its file is whole, or durable while somebody writes."""
    path = disk.topic(topic)
    file = opened(path)
    try:
        index, published = _index_of(disk, topic, file, found)
        durable, newest = durable_end(index, published)
        size = 0 if file is None else os.fstat(file).st_size
        if size < durable:
            problem = f"it has {size} bytes, and {durable} were acknowledged: events were removed"
            found.add("log_cut_short", str(path), problem, ADVICE)
        if file is not None:
            index.stamp = stamp_of(os.fstat(file))
            index.scan(file, min(durable, size), None, newest if durable <= size else 0)
            known = known_of(index, published)
            index.scan(file, _whole_end(disk, path, file, index.end, known, found), None)
    finally:
        if file is not None:
            with suppress(OSError):
                os.close(file)
    return index


def _index_of(
    disk: Disk, topic: str, file: int | None, found: Findings
) -> tuple[TopicIndex, Published | None]:
    index = TopicIndex(topic, disk.topic(topic))
    try:
        return index_of(disk, topic, file, index)
    except CorruptLog as error:
        if not index.is_there(file):
            raise LogUnavailable(f"{index.path} was replaced meanwhile: examine again") from None
        found.add("checkpoint_wrong", str(disk.checkpoint(topic)), str(error), ADVICE)
        return index, None


def _whole_end(
    disk: Disk, path: Path, file: int, durable: int, known: Known, found: Findings
) -> int:
    with _nobody_writes(disk.root / "ledger.lock") as quiet:
        if not quiet:
            return durable
        size = os.fstat(file).st_size
        try:
            repair = repair_of(reader_of(file), durable, size, known)
        except CorruptLog as error:
            remedy = "do what the problem says: nobody reads or writes the topic before that"
            found.add("appended_by_others", str(path), str(error), remedy)
            return durable
    if repair.end < size:
        problem = f"its last {size - repair.end} bytes are not whole events: their writer died"
        found.add("torn_tail", str(path), problem, "nothing: the next read or append cuts them")
    return repair.end


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


def _cursors(disk: Disk, found: Findings) -> dict[tuple[str, str], int]:
    cursors = {}
    for path in sorted((disk.root / "consumers").glob("*.json")):
        try:
            if (one := consumers.found_in(path)) is not None:
                cursors[one.topic, one.consumer_id] = one.cursor
        except CorruptLog:
            problem = "it can't be read, so its consumer can't go on"
            remedy = f"rm {quote(str(path))}: its consumer then begins again"
            found.add("cursor_damaged", str(path), problem, remedy)
    return cursors


def _check_permissions(root: Path, found: Findings) -> None:
    check_surroundings(root.parent, root, found)
    check_folder(root, root, found)
    for path in sorted(root.rglob("*")):
        (check_folder if path.is_dir() else check_file)(path, root, found)
