"""What a process did to the files of a folder, and what a loss of power may leave of it.

`recording` notes each change and each flush while it happens. It replaces the functions of `os`,
and asks the log nothing. `Disk` replays such a trace. It is stricter than any file system:

- Of the bytes that were written to a file since its last flush, any part survives: whole writes,
  pages or sectors. The size that they gave the file survives or not, apart from them.
- Of the names that were made, moved or removed in a folder since its last flush, any survive.
- A flush of a file keeps its bytes, and not its name. A flush that fails keeps nothing, and the
  system forgets what it should have kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

SECTOR, PAGE, WHOLE = 512, 4096, 1 << 40


class Step(NamedTuple):
    """One thing that happened: to a file or a folder by its number, or by a name in a folder."""

    what: str
    number: int
    name: str = ""
    other: int = 0
    offset: int = 0
    data: bytes = b""


class Trace:
    """The steps so far. `note` puts the caller's own between them."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.steps: list[Step] = []
        self.fails: Callable[[str, str], bool] = lambda what, path: False
        self.numbers: dict[str, int] = {str(top): 0}
        self.next = 1
        self.open: dict[int, int] = {}
        self.appends: set[int] = set()

    def note(self, number: int) -> None:
        self.steps.append(Step("note", number))

    def folder_and_name(self, path: str) -> tuple[int, str] | None:
        """The folder of a path, by its number, and the name there; None for one that is outside."""
        folder, name = os.path.split(os.path.abspath(path))
        number = self.numbers.get(folder)
        return None if number is None else (number, name)

    def made(self, path: str, what: str) -> None:
        where = self.folder_and_name(path)
        if where is not None and os.path.abspath(path) not in self.numbers:
            self.numbers[os.path.abspath(path)] = self.next
            self.steps.append(Step(what, where[0], where[1], self.next))
            self.next += 1

    def refuse(self, what: str, path: str) -> None:
        if self.fails(what, path):
            raise OSError(5, "Input/output error")


@contextmanager
def recording(top: Path) -> Iterator[Trace]:
    """Note what this process does below a folder."""
    trace, real = Trace(top), {name: getattr(os, name) for name in _RECORDED}
    wrappers = {name: _wrapper(name, trace, real) for name in _RECORDED}
    with ExitStack() as patches:
        for name, wrapper in wrappers.items():
            patches.enter_context(patch.object(os, name, wrapper))
        yield trace


def _wrapper(name: str, trace: Trace, real: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    return lambda *args, **named: _RECORDED[name](trace, real, *args, **named)


def _open(trace: Trace, real: Any, path: Any, flags: int, *rest: Any, **named: Any) -> int:
    file: int = real["open"](path, flags, *rest, **named)
    if flags & os.O_CREAT:
        trace.made(os.fspath(path), "make")
    number = trace.numbers.get(os.path.abspath(os.fspath(path)))
    if number is not None:
        trace.open[file] = number
        (trace.appends.add if flags & os.O_APPEND else trace.appends.discard)(file)
    return file


def _close(trace: Trace, real: Any, file: int) -> None:
    trace.open.pop(file, None)
    real["close"](file)


def _write(trace: Trace, real: Any, file: int, data: Any) -> int:
    trace.refuse("write", os.readlink(f"/proc/self/fd/{file}"))
    offset = os.fstat(file).st_size if file in trace.appends else os.lseek(file, 0, os.SEEK_CUR)
    written: int = real["write"](file, data)
    if file in trace.open:
        done = bytes(data)[:written]
        trace.steps.append(Step("write", trace.open[file], offset=offset, data=done))
    return written


def _pwrite(trace: Trace, real: Any, file: int, data: bytes, offset: int) -> int:
    written: int = real["pwrite"](file, data, offset)
    if file in trace.open:
        done = bytes(data)[:written]
        trace.steps.append(Step("write", trace.open[file], offset=offset, data=done))
    trace.refuse("after pwrite", os.readlink(f"/proc/self/fd/{file}"))
    return written


def _ftruncate(trace: Trace, real: Any, file: int, size: int) -> None:
    trace.refuse("ftruncate", os.readlink(f"/proc/self/fd/{file}"))
    real["ftruncate"](file, size)
    trace.steps.append(Step("size", trace.open[file], offset=size))


def _fsync(trace: Trace, real: Any, file: int) -> None:
    number = trace.open.get(file)
    try:
        trace.refuse("fsync", os.readlink(f"/proc/self/fd/{file}"))
    except OSError:
        if number is not None:
            trace.steps.append(Step("forget", number))
        raise
    if number is not None:
        trace.steps.append(Step("flush", number))


def _replace(trace: Trace, real: Any, source: Any, target: Any) -> None:
    trace.refuse("rename", os.fspath(target))
    real["replace"](source, target)
    old, new = os.path.abspath(os.fspath(source)), os.path.abspath(os.fspath(target))
    before, after = trace.folder_and_name(old), trace.folder_and_name(new)
    assert before is not None
    assert after is not None
    assert before[0] == after[0]
    number = trace.numbers[new] = trace.numbers.pop(old)
    trace.steps.append(Step("rename", before[0], after[1], number, data=before[1].encode()))


def _unlink(trace: Trace, real: Any, path: Any, **named: Any) -> None:
    real["unlink"](path, **named)
    where = trace.folder_and_name(os.fspath(path))
    if where is not None and trace.numbers.pop(os.path.abspath(os.fspath(path)), 0):
        trace.steps.append(Step("unlink", *where))


def _mkdir(trace: Trace, real: Any, path: Any, *rest: Any, **named: Any) -> None:
    real["mkdir"](path, *rest, **named)
    trace.made(os.fspath(path), "folder")


_RECORDED: dict[str, Callable[..., Any]] = {
    "open": _open,
    "close": _close,
    "write": _write,
    "pwrite": _pwrite,
    "ftruncate": _ftruncate,
    "fsync": _fsync,
    "fdatasync": _fsync,
    "replace": _replace,
    "rename": _replace,
    "unlink": _unlink,
    "mkdir": _mkdir,
}


class _File:
    """The bytes that are on the disk, and what was done since the last flush."""

    def __init__(self) -> None:
        self.kept = b""
        self.pending: list[Step] = []

    def now(self) -> bytes:
        return _applied(self.kept, self.pending)


class _Folder:
    """The names that are on the disk, and what was done since the last flush."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.pending: list[Step] = []


class Disk:
    """The files and folders after some steps. The folder with the number 0 is the top."""

    def __init__(self) -> None:
        self.files: dict[int, _File] = {}
        self.folders: dict[int, _Folder] = {0: _Folder()}

    def take(self, step: Step) -> None:
        """The next step."""
        match step.what:
            case "note":
                return
            case "flush":
                self._flush(step.number)
            case "forget":
                self.files.get(step.number, _File()).pending.clear()
            case "write" | "size":
                self.files[step.number].pending.append(step)
            case _:
                if step.what == "make":
                    self.files[step.other] = _File()
                elif step.what == "folder":
                    self.folders[step.other] = _Folder()
                self.folders[step.number].pending.append(step)

    def _flush(self, number: int) -> None:
        if number in self.files:
            file = self.files[number]
            file.kept = file.now()
            file.pending.clear()
        else:
            folder = self.folders[number]
            folder.kept = _names(folder.kept, folder.pending)
            folder.pending.clear()

    def put_down(self, where: Path, chosen: Callable[[Step], bool], unit: int = WHOLE) -> None:
        """Make what is left, if of everything unflushed what is `chosen` survives."""
        self._put_folder(0, where, chosen, unit)

    def _put_folder(
        self, number: int, where: Path, chosen: Callable[[Step], bool], unit: int
    ) -> None:
        where.mkdir()
        folder = self.folders[number]
        names = _names(folder.kept, filter(chosen, folder.pending))
        for name, inner in names.items():
            if inner in self.folders:
                self._put_folder(inner, where / name, chosen, unit)
            else:
                file = self.files[inner]
                pending = [part for step in file.pending for part in _parts(step, unit)]
                (where / name).write_bytes(_applied(file.kept, filter(chosen, pending)))


def _names(kept: dict[str, int], steps: Any) -> dict[str, int]:
    names = dict(kept)
    for step in steps:
        if step.what == "unlink":
            names.pop(step.name, None)
            continue
        if step.what == "rename":
            names.pop(step.data.decode(), None)
        names[step.name] = step.other
    return names


def _applied(kept: bytes, steps: Any) -> bytes:
    """The content after steps: bytes beyond the size are there, and not seen."""
    content, size = bytearray(kept), len(kept)
    for step in steps:
        end = step.offset + len(step.data)
        if step.what == "size":
            size = step.offset
            continue
        if step.what == "grow":
            size = max(size, step.offset)
            continue
        content.extend(bytes(max(0, end - len(content))))
        content[step.offset : end] = step.data
        if step.what == "write":
            size = max(size, end)
    return bytes(content[:size]).ljust(size, b"\0")


def _parts(step: Step, unit: int) -> Iterator[Step]:
    """A write as what survives or not on its own: the size of the file, and parts of the bytes."""
    if step.what != "write" or unit == WHOLE:
        yield step
        return
    begin, end = step.offset, step.offset + len(step.data)
    yield step._replace(what="grow", offset=end, data=b"")
    for first in range(begin - begin % unit, end, unit):
        low, high = max(begin, first), min(end, first + unit)
        data = step.data[low - begin : high - begin]
        yield step._replace(what="part", offset=low, data=data)


def surviving(random: Random) -> Iterator[tuple[Callable[[Step], bool], int]]:
    """Which steps survive, and in what parts: none, all, and what chance says."""
    yield (lambda step: False), WHOLE
    yield (lambda step: True), WHOLE
    while True:
        chosen = partial(_chosen, random, random.choice([0.2, 0.5, 0.8, 0.95]))
        yield chosen, random.choice([WHOLE, SECTOR, SECTOR, PAGE])


def _chosen(random: Random, share: float, step: Step) -> bool:
    return random.random() < share


def points(steps: Sequence[Step]) -> list[int]:
    """After how many steps a loss of power leaves most to chance: before each flush and note."""
    return [n for n, step in enumerate(steps) if step.what in ("flush", "note", "forget")]
