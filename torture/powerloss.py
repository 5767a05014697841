"""What a loss of power may leave of a folder, by a trace of everything that was done in it.

1. What a file was told to flush is there, and so are the names that a folder was told to flush.
2. Of all other writes any part may be there: whole ones, blocks of 512 bytes, pages, none.
3. Of all other names any may be there. In a strict image none is.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

_HEAD = struct.Struct("<c3xIIIQq")

Unflushed = Literal["none", "all", "writes", "512", "4096"]
UNFLUSHED: tuple[Unflushed, ...] = ("none", "all", "writes", "512", "4096")


class Record(NamedTuple):
    """A line of the trace; `shim.c` says what each kind is."""

    kind: str
    pid: int
    inode: int
    offset: int
    path: str
    data: bytes


def records_of(trace: bytes) -> Iterator[Record]:
    """The lines of a trace."""
    position = 0
    while position < len(trace):
        kind, path, data, pid, inode, offset = _HEAD.unpack_from(trace, position)
        position += _HEAD.size
        name = trace[position : position + path].decode()
        position += path
        content = trace[position : position + data]
        position += data
        yield Record(kind.decode(), pid, inode, offset, name, content)


class _File:
    """Content: what is flushed, and the changes since, each with its position in the trace."""

    def __init__(self, content: bytes = b"") -> None:
        self.flushed = bytearray(content)
        self.changes: list[tuple[int, int, bytes | None]] = []

    def flush(self, before: int) -> None:
        for change in [change for change in self.changes if change[0] < before]:
            _apply(self.flushed, change[1], change[2])
        self.changes = [change for change in self.changes if change[0] >= before]

    def content(self, rng: random.Random, unflushed: Unflushed) -> bytes:
        """The flushed content and any part of the changes."""
        content = bytearray(self.flushed)
        for _, offset, data in self.changes:
            for at, part in _parts(offset, data, unflushed):
                if unflushed == "all" or (unflushed != "none" and rng.random() < 0.5):
                    _apply(content, at, part)
        return bytes(content)


def _parts(
    offset: int, data: bytes | None, unflushed: Unflushed
) -> Iterator[tuple[int, bytes | None]]:
    if data is None or not unflushed.isdigit():
        yield offset, data
        return
    size, done = int(unflushed), 0
    while done < len(data):
        length = size - (offset + done) % size
        yield offset + done, data[done : done + length]
        done += length


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write, or cut where there is no data."""
    if data is None:
        del content[offset:]
        content.extend(bytes(max(0, offset - len(content))))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


class _Naming(NamedTuple):
    """A change of names: an entry is made, moved or removed."""

    position: int
    kind: str
    path: str
    other: str
    file: _File | None

    @property
    def folders(self) -> set[str]:
        return {os.path.dirname(path) for path in (self.path, self.other) if path}


FOLDER = None


class Disk:
    """A folder as it develops by a trace."""

    def __init__(self, before: Path, folder: Path) -> None:
        """before: a copy of the folder from before the trace, all of it flushed."""
        self._root = str(folder)
        self._names: dict[str, _File | None] = {}
        self._namings: list[_Naming] = []
        self._inodes: dict[int, _File] = {}
        self._begun: dict[tuple[int, int], int] = {}
        for path in sorted(before.rglob("*")):
            name = str(folder / path.relative_to(before))
            self._names[name] = _File(path.read_bytes()) if path.is_file() else FOLDER
        self._flushed = dict(self._names)

    def take(self, position: int, record: Record) -> None:
        """The next line of the trace."""
        kind = record.kind
        if kind == "b":
            self._begun[record.pid, record.offset] = position
        elif kind in "wt":
            data = record.data if kind == "w" else None
            self._file(record).changes.append((position, record.offset, data))
        elif kind == "s":
            self._file(record).flush(self._begun[record.pid, record.offset])
        elif kind == "d":
            self._flush_names(record.path, self._begun[record.pid, record.offset])
        elif kind in "cmrul":
            self._rename(position, record)

    def _file(self, record: Record) -> _File:
        """The file of an inode; that of its name, if it was there before the trace."""
        if record.inode not in self._inodes:
            found = self._names[record.path]
            assert found is not None
            self._inodes[record.inode] = found
        return self._inodes[record.inode]

    def _rename(self, position: int, record: Record) -> None:
        file: _File | None = FOLDER
        if record.kind == "c":
            file = self._inodes[record.inode] = _File()
        elif record.kind in "rl":
            file = self._names[record.path]
        naming = _Naming(position, record.kind, record.path, record.data.decode(), file)
        _name(self._names, naming)
        self._namings.append(naming)

    def _flush_names(self, folder: str, before: int) -> None:
        kept = []
        for naming in self._namings:
            if naming.position < before and folder in naming.folders:
                _name(self._flushed, naming)
            else:
                kept.append(naming)
        self._namings = kept

    def write(self, into: Path, rng: random.Random, unflushed: Unflushed, *, strict: bool) -> None:
        """Write what a loss of power at this moment may leave."""
        names = dict(self._flushed)
        for naming in self._namings:
            if not strict and (unflushed == "all" or rng.random() < 0.5):
                _name(names, naming)
        into.mkdir(mode=0o700)
        for path in sorted(names):
            target = into / os.path.relpath(path, self._root)
            file = names[path]
            if path.endswith("-shm") or not target.parent.is_dir():
                continue
            if file is None:
                target.mkdir(mode=0o700)
                continue
            target.touch(mode=0o600)
            target.write_bytes(file.content(rng, unflushed))


def _name(names: dict[str, _File | None], naming: _Naming) -> None:
    if naming.kind == "u":
        names.pop(naming.path, None)
        return
    if naming.kind == "r":
        names.pop(naming.path, None)
    names[naming.other or naming.path] = naming.file


def replay(before: Path, folder: Path, records: Sequence[Record], end: int) -> tuple[Disk, bytes]:
    """The folder after so many lines of the trace, and what was said until then.

    before: a copy of it from before.
    """
    disk, said = Disk(before, folder), b""
    for position, record in enumerate(records[:end]):
        if record.kind == "n":
            said += record.data
        else:
            disk.take(position, record)
    return disk, said
