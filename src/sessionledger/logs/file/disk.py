"""The files of a ledger, and how they are written so that nothing acknowledged is lost.

1. A batch is one write at the end, and flushed before it is published; see `durable`.
2. A write that fails is cut off again. Where that fails too, and whenever a flush fails, nothing
   more is written by this process: what a failed flush left can't be known, and asking again may
   lie.
3. A file or folder that is made is flushed, and so is the folder that it is in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sessionledger.errors import LogUnavailable
from sessionledger.logs.base import is_name
from sessionledger.logs.file.durable import (
    FLUSHED,
    Published,
    publish,
    published,
    this_boot,
)
from sessionledger.logs.file.explain import TOPICS
from sessionledger.logs.file.image import read_exactly
from sessionledger.logs.file.tail import worth_of

_END = ".jsonl"
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class Disk:
    """The folder of a ledger. Whoever writes holds the lock."""

    def __init__(
        self,
        root: Path,
        durability: str = "full",
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self.root = root
        self.poison: str | None = None
        self._flushes = durability == "full"
        self._sync = sync
        self._boot = FLUSHED if self._flushes else this_boot()
        self._anchored: set[str] = set()

    def make(self) -> None:
        """The folders, made if they are not there."""
        self._make(self.root)
        self._make(self.root / TOPICS)
        self._make(self.root / "durable")

    def topic(self, name: str) -> Path:
        """The file of a topic."""
        return self.root / TOPICS / f"{name}{_END}"

    def topics(self) -> list[str]:
        """The topics whose file is not empty, sorted."""
        files = [entry for entry in os.scandir(self.root / TOPICS) if entry.name.endswith(_END)]
        names = [file.name.removesuffix(_END) for file in files if file.stat().st_size]
        return sorted(name for name in names if is_name(name))

    def may_be_read(self) -> bool:
        """Whether there is a ledger that this process may at least read."""
        folder = self.root / TOPICS
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)

    def published(self, name: str) -> Published | None:
        """How far the file of a topic is durable."""
        return published(self.root / "durable" / name)

    def publish(self, name: str, durable: int, claimed: int) -> None:
        """Say how far the file of a topic is durable, and up to where it may be written."""
        publish(self.root / "durable" / name, Published(durable, claimed), self._boot)

    def check_healthy(self) -> None:
        """Raises `LogUnavailable` once nothing more may be written."""
        if self.poison is not None:
            raise LogUnavailable(f"{self.root}: {self.poison}")

    def append(self, name: str, start: int, data: bytes) -> int:
        """Write at the end of a topic's file, which is at `start`, durably; the file's inode.

        Raises `OSError` or `LogUnavailable`, and the file is then as it was.
        """
        file = os.open(self.topic(name), _APPEND, 0o600)
        try:
            self._anchor(name)
            self.publish(name, start, start + len(data))
            self._put(file, start, data)
            self._flush(file, start)
            self._say(name, file, start, start + len(data))
            return os.fstat(file).st_ino
        finally:
            os.close(file)

    def adopt(self, name: str, start: int) -> int:
        """Make what stands in the file beyond `start` durable, as far as it is whole; its end.

        That was left by a writer that died, or appended by one that publishes nothing.
        """
        file = os.open(self.topic(name), _APPEND, 0o600)
        try:
            size = os.fstat(file).st_size
            end, lacks_newline = worth_of(
                lambda begin, end: read_exactly(file, begin, end), start, size
            )
            if end < size:
                os.ftruncate(file, end)
            if lacks_newline:
                _write(file, b"\n")
                end += 1
            self._anchor(name)
            self._flush(file, end)
            self.publish(name, end, end)
            return end
        finally:
            os.close(file)

    def flush(self) -> None:
        """Make durable what was written without being flushed."""
        if self._flushes:
            return
        for name in self.topics():
            file = os.open(self.topic(name), os.O_RDWR | os.O_CLOEXEC)
            try:
                self._sync_or_stop(file)
            finally:
                os.close(file)

    def replace(self, path: Path, content: bytes) -> None:
        """Put a small file in the place of another one: the old or the new, never half."""
        self._make(path.parent)
        draft = path.with_name(f".{path.name}.new")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(file, content)
            if self._flushes:
                self._sync_or_stop(file)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        draft.replace(path)
        self._flush_folder(path.parent)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            self._flush_folder(folder.parent)

    def _anchor(self, name: str) -> None:
        """Flush the folder once, in case the file is new, or its maker died before he did so."""
        if name not in self._anchored:
            self._flush_folder(self.root / TOPICS)
            self._anchored.add(name)

    def _flush_folder(self, folder: Path) -> None:
        if not self._flushes:
            return
        file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def _flush(self, file: int, start: int) -> None:
        """Flush; where that fails, cut off what was written from `start` on, and stop."""
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
                self.poison = f"a flush failed ({error}); close the ledger and open it again"
            raise

    def _put(self, file: int, start: int, data: bytes) -> None:
        try:
            _write(file, data)
        except OSError:
            self._cut(file, start)
            raise
        size = os.fstat(file).st_size
        if size != start + len(data) and os.pread(file, len(data), start) != data:
            # Behind lines that somebody appended at the same moment, and with ids that are taken.
            if os.pread(file, len(data), size - len(data)) == data:
                self._cut(file, size - len(data))
            raise LogUnavailable(
                f"another program, which takes no turns, wrote to {self.root} at the same moment: "
                "read it back, and try again"
            )

    def _say(self, name: str, file: int, start: int, end: int) -> None:
        try:
            self.publish(name, end, end)
        except OSError:
            self._cut(file, start)
            raise

    def _cut(self, file: int, start: int) -> None:
        try:
            os.ftruncate(file, start)
        except OSError as error:
            self.poison = f"half a write stayed ({error}); close the ledger and open it again"


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
