"""Flushing what was committed without a flush, seen by what SQLite asks of the file system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionledger import Change, Unit
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing.fixtures import event

flushed: list[str] = []


class File(apsw.VFSFile):
    """A file that writes down its flushes."""

    def __init__(self, name: Any, flags: list[int]) -> None:
        self._named = str(name.filename() if isinstance(name, apsw.URIFilename) else name)
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        flushed.append(self._named)
        super().xSync(flags)


class Files(apsw.VFS):
    """The system's files, whose flushes are written down."""

    def __init__(self) -> None:
        super().__init__("flushes", "")

    def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
        return File(name, flags)


@pytest.mark.parametrize("reads", [False, True])
def test_a_flush_reaches_the_disk_beside_a_reader_too(tmp_path: Path, reads: bool) -> None:
    path = tmp_path / "ledger.db"
    files = Files()
    log = SQLiteLog(path, durability="normal", vfs="flushes")
    log.append("t", [Unit([Change(event())])])
    reader = apsw.Connection(str(path))
    reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if reads:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchall()
    log.append("t", [Unit([Change(event())])])
    flushed.clear()
    log.flush()
    assert f"{path}-wal" in flushed
    flushed.clear()
    log.append("t", [Unit([Change(event())])])
    assert flushed == []
    reader.close()
    log.close()
    del files
