"""The files of a ledger, and how they are written so that nothing acknowledged is lost.

1. A batch is one write at the end of a file. It is flushed before it is published (`recovery`).
2. A write that fails is cut off again. If that fails too, or a flush fails, this process writes
   nothing more. Nobody knows what a failed flush left, and a second one may report success.
3. A new file or folder is flushed, and so is the folder that it is in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sessionledger.errors import LogUnavailable
from sessionledger.logs.arguments import is_name
from sessionledger.logs.file.errors import CHECKPOINTS, TOPICS
from sessionledger.logs.file.index import Stamp, read_exactly, stamp_of
from sessionledger.logs.file.recovery.durable_offset import (
    FLUSHED,
    Published,
    publish,
    published,
    this_boot,
)
from sessionledger.logs.file.recovery.torn_tail import repair_of
from sessionledger.ownership import (
    check_ledger,
    make_folder,
    open_companion,
    owner_of,
    owner_of_next,
)

_END = ".jsonl"
_CHECKPOINT = ".checkpoint"
_NEXT = ".next"
_APPEND = os.O_RDWR | os.O_APPEND


class Disk:
    """The folder of a ledger. Whoever writes holds the lock."""

    def __init__(
        self,
        root: Path,
        durability: str = "full",
        sync: Callable[[int], None] = os.fdatasync,
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

    def emptied(self) -> set[str]:
        """The topics whose events were removed at some time."""
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
        publish(self._durable / name, upto, self._boot, owner_of(self.root))

    def check_healthy(self) -> None:
        """Raises `LogUnavailable` once nothing more may be written."""
        if self.poison is not None:
            raise LogUnavailable(f"{self.root}: {self.poison}")

    def append(self, name: str, start: int, since: int, data: bytes) -> Stamp:
        """Write at the end of a topic's file, which is at `start`, durably; the file's stamp.

        since: as in `Published`. Raises `OSError` or `LogUnavailable`; the file is then as it was.
        """
        file = open_companion(self.topic(name), owner_of(self.root), _APPEND)
        try:
            self._anchor(name, file, since)
            end = start + len(data)
            self.publish(name, Published(start, end, since))
            self._put(file, start, data)
            self._flush(file, start)
            self._publish_or_cut(name, file, start, Published(end, end, since))
            return stamp_of(os.fstat(file))
        finally:
            os.close(file)

    def adopt(self, name: str, start: int, since: int) -> None:
        """Make the bytes of the file behind `start` durable, as far as they are whole.

        A writer that died left them, or one that publishes nothing appended them.
        """
        file = open_companion(self.topic(name), owner_of(self.root), _APPEND)
        try:
            size = os.fstat(file).st_size
            end, lacks_newline = repair_of(
                lambda begin, end: read_exactly(file, begin, end), start, size
            )
            if end < size:
                os.ftruncate(file, end)
            if lacks_newline:
                _write(file, b"\n")
                end += 1
            self._anchor(name, file, since)
            self._flush(file, end)
            self.publish(name, Published(end, end, since))
        finally:
            os.close(file)

    def flush(self) -> None:
        """Flush what `durability="normal"` left unflushed."""
        if self._flushes:
            return
        for name in self.topics():
            file = os.open(self.topic(name), os.O_RDWR | os.O_CLOEXEC)
            try:
                self._sync_or_stop(file)
            finally:
                os.close(file)

    def replace(self, path: Path, content: bytes) -> None:
        """Replace a small file. A crash leaves the old content or the new, never half of it."""
        self.make_folder(path.parent)
        self.write_draft(path, content, self._sync_or_stop if self._flushes else None).replace(path)
        self._flush_folder(path.parent)

    def write_draft(self, path: Path, content: bytes, sync: Callable[[int], None] | None) -> Path:
        """Write a file that is to replace another, flushed if there is a `sync`; its path."""
        owner = owner_of_next(path, self.root)
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        file = open_companion(draft, owner, os.O_WRONLY)
        try:
            _write(file, content)
            if sync is not None:
                sync(file)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        return draft

    def replace_topic(self, name: str, draft: Path) -> None:
        """Replace a topic's file by a draft, durably."""
        path = self.topic(name)
        draft.replace(path)
        try:
            flush_folder(path.parent)
        except OSError as error:
            self._stop_after(error)
            raise

    def make_folder(self, folder: Path) -> None:
        """A folder of the ledger, made if it is not there."""
        if make_folder(folder, owner_of(self.root)):
            self._flush_folder(folder.parent)

    def _anchor(self, name: str, file: int, since: int) -> None:
        """Flush the folder once for each file: it may be new, or its maker died before that."""
        identity = (os.fstat(file).st_ino, since)
        if self._anchored.get(name) != identity:
            self._flush_folder(self._topics)
            self._anchored[name] = identity

    def _flush_folder(self, folder: Path) -> None:
        if self._flushes:
            flush_folder(folder)

    def _flush(self, file: int, start: int) -> None:
        """Flush. If that fails, cut off what was written from `start` on, and stop writing."""
        if not self._flushes:
            return
        try:
            self._sync_or_stop(file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, start)
            raise

    def _sync_or_stop(self, file: int) -> None:
        try:
            self._sync(file)
        except OSError as error:
            if error.errno is not None:  # else a signal handler raised it, before or after
                self._stop_after(error)
            raise

    def _stop_after(self, error: OSError) -> None:
        self.poison = f"a flush failed ({error}); close the ledger and open it again"

    def _put(self, file: int, start: int, data: bytes) -> None:
        try:
            _write(file, data)
        except OSError:
            self._cut(file, start)
            raise
        size = os.fstat(file).st_size
        if size != start + len(data) and os.pread(file, len(data), start) != data:
            # It stands behind lines that another program appended just now, with the same ids.
            if os.pread(file, len(data), size - len(data)) == data:
                self._cut(file, size - len(data))
            raise LogUnavailable(
                f"another program wrote to {self.root} at the same moment, without its lock: read "
                "it back, and try again"
            )

    def _publish_or_cut(self, name: str, file: int, start: int, upto: Published) -> None:
        try:
            self.publish(name, upto)
        except OSError:
            self._cut(file, start)
            raise

    def _cut(self, file: int, start: int) -> None:
        try:
            os.ftruncate(file, start)
        except OSError as error:
            self.poison = f"half a write stayed ({error}); close the ledger and open it again"


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
