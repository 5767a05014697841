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
from sessionledger.logs.arguments import is_name
from sessionledger.logs.file.errors import ORIGINS, TOPICS
from sessionledger.logs.file.index import Stamp, read_exactly, stamp_of
from sessionledger.logs.file.recovery.durable_offset import (
    FLUSHED,
    Published,
    publish,
    published,
    this_boot,
)
from sessionledger.logs.file.recovery.torn_tail import worth_of

_END = ".jsonl"
_ORIGIN = ".origin"
_COMING = ".next"
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
        self._anchored: dict[str, tuple[int, int]] = {}

    def make(self) -> None:
        """The folders, made if they are not there."""
        self.make_folder(self.root)
        self.make_folder(self.root / TOPICS)
        self.make_folder(self.root / "durable")

    def topic(self, name: str) -> Path:
        """The file of a topic."""
        return self.root / TOPICS / f"{name}{_END}"

    def topics(self) -> list[str]:
        """The topics whose file is not empty, sorted."""
        files = [entry for entry in os.scandir(self.root / TOPICS) if entry.name.endswith(_END)]
        names = [file.name.removesuffix(_END) for file in files if file.stat().st_size]
        return sorted(name for name in names if is_name(name))

    def origin(self, name: str) -> Path:
        """The file with what a topic's file goes on from."""
        return self.root / ORIGINS / f"{name}{_ORIGIN}"

    def coming_origin(self, name: str) -> Path:
        """The file with what it will go on from once it is replaced; see `origin`."""
        return self.root / ORIGINS / f"{name}{_COMING}"

    def emptied(self) -> set[str]:
        """The topics whose events were removed at some time."""
        folder = self.root / ORIGINS
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return {name.rpartition(".")[0] for name in names if name.endswith((_ORIGIN, _COMING))}

    def size(self) -> int:
        """The bytes of all events, and of all that removed ones came to."""
        folders = [folder for name in (TOPICS, ORIGINS) if (folder := self.root / name).is_dir()]
        return sum(entry.stat().st_size for folder in folders for entry in os.scandir(folder))

    def may_be_read(self) -> bool:
        """Whether there is a ledger that this process may at least read."""
        folder = self.root / TOPICS
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)

    def published(self, name: str) -> Published | None:
        """How far the file of a topic is durable."""
        return published(self.root / "durable" / name)

    def publish(self, name: str, upto: Published) -> None:
        """Say how far the file of a topic is durable, and up to where it may be written."""
        publish(self.root / "durable" / name, upto, self._boot)

    def check_healthy(self) -> None:
        """Raises `LogUnavailable` once nothing more may be written."""
        if self.poison is not None:
            raise LogUnavailable(f"{self.root}: {self.poison}")

    def append(self, name: str, start: int, since: int, data: bytes) -> Stamp:
        """Write at the end of a topic's file, which is at `start`, durably; the file's stamp.

        since: as in `Published`. Raises `OSError` or `LogUnavailable`; the file is then as it was.
        """
        file = os.open(self.topic(name), _APPEND, 0o600)
        try:
            self._anchor(name, file, since)
            end = start + len(data)
            self.publish(name, Published(start, end, since))
            self._put(file, start, data)
            self._flush(file, start)
            self._say(name, file, start, Published(end, end, since))
            return stamp_of(os.fstat(file))
        finally:
            os.close(file)

    def adopt(self, name: str, start: int, since: int) -> None:
        """Make what stands in the file beyond `start` durable, as far as it is whole.

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
            self._anchor(name, file, since)
            self._flush(file, end)
            self.publish(name, Published(end, end, since))
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
        self.make_folder(path.parent)
        write_draft(path, content, self._sync_or_stop if self._flushes else None).replace(path)
        self._flush_folder(path.parent)

    def replace_topic(self, name: str, draft: Path) -> None:
        """Put a draft in the place of a topic's file, for good."""
        path = self.topic(name)
        draft.replace(path)
        try:
            flush_folder(path.parent)
        except OSError as error:
            self._stop_after(error)
            raise

    def make_folder(self, folder: Path) -> None:
        """A folder of the ledger, made if it is not there."""
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            self._flush_folder(folder.parent)

    def _anchor(self, name: str, file: int, since: int) -> None:
        """Flush the folder once a file, in case it is new, or its maker died before he did so."""
        place = (os.fstat(file).st_ino, since)
        if self._anchored.get(name) != place:
            self._flush_folder(self.root / TOPICS)
            self._anchored[name] = place

    def _flush_folder(self, folder: Path) -> None:
        if self._flushes:
            flush_folder(folder)

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
            # Behind lines that somebody appended at the same moment, and with ids that are taken.
            if os.pread(file, len(data), size - len(data)) == data:
                self._cut(file, size - len(data))
            raise LogUnavailable(
                f"another program, which takes no turns, wrote to {self.root} at the same moment: "
                "read it back, and try again"
            )

    def _say(self, name: str, file: int, start: int, upto: Published) -> None:
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


def write_draft(path: Path, content: bytes, sync: Callable[[int], None] | None) -> Path:
    """Write what is to be put in the place of a file, flushed if there is a `sync`; where it is."""
    draft = path.with_name(f".{path.name}.new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
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


def flush_folder(folder: Path) -> None:
    """Make durable which files are in a folder."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
