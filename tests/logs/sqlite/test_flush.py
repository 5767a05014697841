"""Flushing what was committed without a flush, seen by what SQLite asks of the file system."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionledger import Change, Log, SessionStore, Unit, open_log
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.logs.url import open_snapshot
from sessionledger.store.engine import SESSIONS_TOPIC
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


DIES_BEFORE_ITS_FLUSH = """
import os, sys
from sessionledger import SessionStore
store = SessionStore.open(f"sqlite:///{sys.argv[1]}", durability="normal")
store.revoke(handle=sys.argv[2])
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the process's open files are read")
@pytest.mark.parametrize("opens", [open_snapshot, open_log])
def test_what_is_shown_of_a_writer_that_died_is_flushed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: Callable[[str], Log]
) -> None:
    path = tmp_path / "ledger.db"
    with SessionStore.open(f"sqlite:///{path}") as store:
        issued = store.create("alice")
    subprocess.run(
        [sys.executable, "-c", DIES_BEFORE_ITS_FLUSH, path, issued.handle], check=True, timeout=60
    )
    fsync, seen = os.fsync, list[str]()

    def noted(file: int) -> None:
        seen.append(os.readlink(f"/proc/self/fd/{file}"))
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    with closing(opens(f"sqlite:///{path}")) as log:
        assert log.latest(SESSIONS_TOPIC) == 2
        assert seen == [f"{path}-wal", str(tmp_path)]
