"""The files of a ledger, and how they are written so that nothing acknowledged is lost.

1. A batch is one write at the end of a file. It is flushed before it is published (`recovery`).
2. A write that fails is cut off again, unless it was published. If that fails too, or a flush
   fails, this process writes nothing more. Nobody knows what a failed flush left, and a second one
   may report success.
3. Each process flushes the names of the files that it relies on, up to the folder around the
   ledger. Whoever made them may have died before that, or have flushed nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sessionledger.errors import LogUnavailable
from sessionledger.logs.arguments import is_name
from sessionledger.logs.file.errors import (
    CHECKPOINTS,
    LEFT,
    LEFT_FOR,
    TOPICS,
    opened_file,
)
from sessionledger.logs.file.index import Stamp, TopicIndex, reader_of, stamp_of
from sessionledger.logs.file.recovery.durable_offset import (
    FLUSHED,
    Published,
    publish,
    published,
    published_in,
    this_boot,
)
from sessionledger.logs.file.recovery.torn_tail import Known, repair_of
from sessionledger.ownership import (
    check_ledger,
    flush,
    make_folder,
    open_companion,
    owner_of,
    owner_of_next,
)

_END = ".jsonl"
_CHECKPOINT = ".checkpoint"
_NEXT = ".next"
_APPEND = os.O_RDWR | os.O_APPEND
_PART = 1 << 20


class Disk:
    """The folder of a ledger. Whoever writes holds the lock."""

    def __init__(
        self, root: Path, durability: str = "full", sync: Callable[[int], None] = os.fdatasync
    ) -> None:
        self.root = root
        # Made once: to join a path takes as long as many a call of the system.
        self._topics = root / TOPICS
        self._durable = root / "durable"
        self.poison: str | None = None
        self._flushes = durability == "full"
        self._sync = sync
        self._boot = FLUSHED if self._flushes else this_boot()
        self._anchored: dict[str, tuple[int, int]] = {}

    def make(self) -> None:
        """The folders, made if they are not there. Raises `LogUnavailable` for another user's."""
        if self.root.is_dir():
            check_ledger(self.root)
        self.make_folder(self.root)
        self.make_folder(self._topics)
        self.make_folder(self._durable)

    def topic(self, name: str) -> Path:
        """The file of a topic."""
        return self._topics / f"{name}{_END}"

    def topics(self) -> list[str]:
        """The topics whose file is not empty, sorted."""
        files = [entry for entry in os.scandir(self._topics) if entry.name.endswith(_END)]
        names = [file.name.removesuffix(_END) for file in files if file.stat().st_size]
        return sorted(name for name in names if is_name(name))

    def checkpoint(self, name: str) -> Path:
        """The file of a topic's checkpoint."""
        return self.root / CHECKPOINTS / f"{name}{_CHECKPOINT}"

    def next_checkpoint(self, name: str) -> Path:
        """The file of the checkpoint that counts once the topic's file is replaced."""
        return self.root / CHECKPOINTS / f"{name}{_NEXT}"

    def compacted(self) -> set[str]:
        """The topics that lost events to a compaction at some time."""
        folder = self.root / CHECKPOINTS
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return {name.rpartition(".")[0] for name in names if name.endswith((_CHECKPOINT, _NEXT))}

    def size(self) -> int:
        """The bytes of all events and checkpoints."""
        folders = [
            folder for name in (TOPICS, CHECKPOINTS) if (folder := self.root / name).is_dir()
        ]
        return sum(entry.stat().st_size for folder in folders for entry in os.scandir(folder))

    def may_be_read(self) -> bool:
        """Whether there is a ledger that this process may at least read."""
        folder = self._topics
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)

    def published(self, name: str) -> Published | None:
        """How far the file of a topic is durable."""
        return published(self._durable / name)

    def publish(self, name: str, upto: Published) -> None:
        """Publish how far the file of a topic is durable, and up to where it may be written."""
        with self._record(name) as record:
            publish(record, upto, self._boot)

    @contextmanager
    def _record(self, name: str) -> Iterator[int]:
        with opened_file(open_companion(self._durable / name, owner_of(self.root))) as record:
            yield record

    def check_healthy(self) -> None:
        """Raises `LogUnavailable` once nothing more may be written."""
        if self.poison is not None:
            raise LogUnavailable(f"{self.root}: {self.poison}")

    def append(self, name: str, index: TopicIndex, data: bytes, newest: int) -> Stamp:
        """Write at the end of a topic's file, which is the index's, durably; the file's stamp.

        newest: as in `Published`. Raises `OSError` or `LogUnavailable`; the file is then as it was,
        unless the write was published.
        """
        start, since = index.end, index.checkpoint.since
        with self._open(name) as file, self._record(name) as record:
            self._anchor_topic(name, file, record, since)
            before = Published(start, start, since, self._flushed(file, record, start, since))
            end = start + len(data)
            try:
                publish(record, before._replace(claimed=end), self._boot)
                write(file, data)
                alone = _stands_alone(file, start, data)
                if alone:
                    self._flush(file)
                    flushed = end if self._flushes else before.flushed
                    publish(record, Published(end, end, since, flushed, newest), self._boot)
            except OSError:
                self._withdraw(file, record, before)
                raise
            if not alone:
                self._withdraw_behind_others(file, record, before, data)
            return stamp_of(os.fstat(file))

    def adopt(self, name: str, index: TopicIndex, *, is_published: bool) -> None:
        """Make the bytes of the file behind an index durable, as far as they are to be kept.

        A writer that died left them, or one that publishes nothing appended them. is_published:
        whether the end of the index was published.
        """
        start, since = index.end, index.checkpoint.since
        with self._open(name) as file, self._record(name) as record:
            size = os.fstat(file).st_size
            known = Known(name, index.head, is_published, index.cut.id > 0)
            end, lacks_newline = repair_of(reader_of(file), start, size, known)
            if end < size:
                os.ftruncate(file, end)
            if lacks_newline:
                write(file, b"\n")
                end += 1
            if is_published:
                self._write_again(name, start, end)
            self._anchor_topic(name, file, record, since)
            self._sync_or_stop(file)
            publish(record, Published(end, end, since, end), self._boot)

    def publish_newest(self, name: str, newest: int) -> None:
        """Publish the id of the newest event up to the durable offset."""
        found = self.published(name)
        if found is not None:
            self.publish(name, found._replace(newest=newest))

    def flush(self) -> None:
        """Flush what anybody left unflushed."""
        for name in self.topics():
            with self._open(name) as file, self._record(name) as record:
                self._sync_or_stop(file)
                found = published_in(record)
                if found is not None:
                    self._anchor_topic(name, file, record, found.since)
                    publish(record, found._replace(flushed=found.durable), self._boot)

    def leave(self, to: str) -> None:
        """Let nobody find the topics any more, and name the address `to` to them."""
        self.replace(self._topics / LEFT_FOR, to.encode())
        self._topics.rename(self.root / LEFT)
        self._topics.write_text(to)  # the reference makes no folder where there is a file
        self.flush_folder(self.root)

    def replace(self, path: Path, content: bytes) -> None:
        """Replace a small file. A crash leaves the old content or the new, never half of it."""
        folder = path.parent
        self.make_folder(folder)
        self._anchor(folder.name, (folder.stat().st_ino, 0))
        with self.draft(path) as file:
            write(file, content)
            self._sync_or_stop(file)
            self.put_draft(path)

    @contextmanager
    def draft(self, path: Path) -> Iterator[int]:
        """A file that is to replace another, open to be written; removed by an error."""
        owner, draft = owner_of_next(path, self.root), _draft_of(path)
        draft.unlink(missing_ok=True)
        try:
            with opened_file(open_companion(draft, owner, os.O_RDWR)) as file:
                yield file
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def put_draft(self, path: Path) -> None:
        """Replace a file by its draft, which was flushed, durably."""
        _draft_of(path).replace(path)
        self.flush_folder(path.parent)

    def remove_drafts(self, name: str) -> None:
        """Remove what a compaction of a topic left that was killed before it counted."""
        for path in (self.topic(name), self.next_checkpoint(name)):
            _draft_of(path).unlink(missing_ok=True)

    def make_folder(self, folder: Path) -> None:
        """A folder of the ledger, made if it is not there."""
        make_folder(folder, owner_of(self.root))

    def flush_folder(self, folder: Path) -> None:
        """Make the names in a folder durable, or write nothing more."""
        with self._stops_writing():
            flush(folder)

    @contextmanager
    def _open(self, name: str) -> Iterator[int]:
        with opened_file(open_companion(self.topic(name), owner_of(self.root), _APPEND)) as file:
            yield file

    def anchor(self, name: str, since: int) -> None:
        """Flush the record of a topic, and all names that lead to it and to the file."""
        with self._open(name) as file, self._record(name) as record:
            self._anchor_topic(name, file, record, since)

    def _anchor_topic(self, name: str, file: int, record: int, since: int) -> None:
        identity = (os.fstat(file).st_ino, since)
        if self._anchored.get(name) != identity:
            if published_in(record) is None:
                publish(record, Published(0, 0, since, 0), self._boot)
            self._sync_or_stop(record, os.fsync)
            self._anchor(name, identity, self._durable, self._topics)

    def _anchor(self, name: str, identity: tuple[int, int], *folders: Path) -> None:
        """Flush the names that lead to a file, once for each file."""
        if self._anchored.get(name) != identity:
            for folder in (*folders, self.root, self.root.parent):
                self.flush_folder(folder)
            self._anchored[name] = identity

    def _flushed(self, file: int, record: int, start: int, since: int) -> int:
        """How far the file is flushed: a writer that flushes vouches for all that it follows."""
        found = published_in(record)
        flushed = 0 if found is None or found.since != since else found.flushed
        if self._flushes and flushed < start:
            self._sync_or_stop(file)
            return start
        return min(flushed, start)

    def _flush(self, file: int) -> None:
        if self._flushes:
            self._sync_or_stop(file)

    def _sync_or_stop(self, file: int, sync: Callable[[int], None] | None = None) -> None:
        with self._stops_writing():
            (sync or self._sync)(file)

    @contextmanager
    def _stops_writing(self) -> Iterator[None]:
        """If a flush fails, this process writes nothing more."""
        try:
            yield
        except OSError as error:
            if error.errno is not None:  # else a signal handler raised it, before or after
                self.poison = f"a flush failed ({error}); close the ledger and open it again"
            raise

    def _write_again(self, name: str, start: int, end: int) -> None:
        """Write bytes again that stand there: whoever wrote them may have failed to flush them.

        The system forgets what it could not flush, and the next flush of the file succeeds.
        """
        path = self.topic(name)
        with opened_file(open_companion(path, owner_of(self.root), os.O_RDWR)) as file:
            for begins in range(start, end, _PART):
                part = os.pread(file, min(_PART, end - begins), begins)
                if os.pwrite(file, part, begins) != len(part):
                    raise OSError(errno.EIO, "only a part was written", str(path))

    def _withdraw(self, file: int, record: int, before: Published) -> None:
        """Cut off what was written, unless it was published all the same."""
        found = published_in(record)
        if found is not None and found.durable > before.durable:
            return
        self._cut(file, record, before.durable, before)

    def _withdraw_behind_others(
        self, file: int, record: int, before: Published, data: bytes
    ) -> None:
        """Cut off what stands behind lines that another program appended, with the same ids."""
        begins = os.fstat(file).st_size - len(data)
        if os.pread(file, len(data), begins) == data:
            self._cut(file, record, begins, before)
        raise LogUnavailable(
            f"another program wrote to {self.root} at the same moment, without its lock: read "
            "it back, and try again"
        )

    def _cut(self, file: int, record: int, start: int, before: Published) -> None:
        """Cut a file off at `start`, and withdraw the claim."""
        try:
            os.ftruncate(file, start)
        except OSError as error:
            self.poison = (
                self.poison or f"half a write stayed ({error}); close the ledger and open it again"
            )
        else:
            with suppress(OSError):
                publish(record, before, self._boot)


def _stands_alone(file: int, start: int, data: bytes) -> bool:
    """Whether nobody else appended at the same moment, between what was known and the data."""
    size = os.fstat(file).st_size
    return size == start + len(data) or os.pread(file, len(data), start) == data


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def write(file: int, data: bytes) -> None:
    """Write all of it."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
