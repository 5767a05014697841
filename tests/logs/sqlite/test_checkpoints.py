"""Pages of the write-ahead log are copied back while others may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest

from sessionledger import LogTimeout
from sessionledger.logs.base import Appended, Change, LogEvent, Unit
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.logs.sqlite.checkpoints import LONGEST

PAGE = 4096


class WatchedFile(apsw.VFSFile):
    """A file of a database, which tells when it is flushed."""

    def __init__(self, disk: WatchedDisk, name: str | apsw.URIFilename | None, flags: list[int]):
        super().__init__("", name, flags)
        self._disk = disk
        self._is_database = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        if self._is_database:
            self._disk.flushing()
        super().xSync(flags)


class WatchedDisk(apsw.VFS):
    """The default VFS, which does something before a database is flushed."""

    def __init__(self, name: str) -> None:
        self.flushing: Callable[[], object] = lambda: None
        super().__init__(name, "")

    def xOpen(  # noqa: N802  SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return WatchedFile(self, name, flags)


@pytest.fixture
def disk() -> Iterator[WatchedDisk]:
    disk = WatchedDisk("watched")
    yield disk
    disk.unregister()


def append(log: SQLiteLog, pages: int) -> int:
    """Append an event that takes so many pages; its id."""
    event = LogEvent.of("kind", {"text": "a" * pages * PAGE})
    [outcome] = log.append("topic", [Unit((Change(event),))])
    assert isinstance(outcome, Appended)
    return outcome.ids[0]


def longest(path: Path) -> int:
    """Bytes of the write-ahead log."""
    return path.with_name(path.name + "-wal").stat().st_size


def test_another_process_writes_while_pages_are_copied_back(
    disk: WatchedDisk, tmp_path: Path
) -> None:
    path, heads = tmp_path / "ledger", []
    with (
        closing(SQLiteLog(path, vfs="watched")) as log,
        closing(SQLiteLog(path, timeout=5)) as other,
    ):

        def flushing() -> None:
            disk.flushing = lambda: None
            heads.append(append(other, 1))

        disk.flushing = flushing
        while not heads:
            last = append(log, 100)
        assert heads == [last + 1]


def test_the_log_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with closing(SQLiteLog(path)) as log:
        for _ in range(2 * LONGEST // 100):
            append(log, 100)
        assert longest(path) < LONGEST * PAGE


def test_the_log_begins_again_though_another_process_always_appends_meanwhile(
    disk: WatchedDisk, tmp_path: Path
) -> None:
    def flushing() -> None:
        # A commit that copies the rest lets nobody append.
        with suppress(LogTimeout):
            appended.append(append(other, 1))

    path, appended = tmp_path / "ledger", list[int]()
    with (
        closing(SQLiteLog(path, vfs="watched")) as log,
        closing(SQLiteLog(path, timeout=0.01)) as other,
    ):
        disk.flushing = flushing
        for _ in range(5 * LONGEST // 100):
            append(log, 100)
        disk.flushing = lambda: None
        assert longest(path) < 2 * LONGEST * PAGE
    assert len(appended) > 5


def test_an_append_counts_though_its_pages_cannot_be_copied_back(
    disk: WatchedDisk, tmp_path: Path
) -> None:
    def fail() -> None:
        failures.append(True)
        raise apsw.IOError("the disk does not answer")

    failures: list[bool] = []
    with closing(SQLiteLog(tmp_path / "ledger", vfs="watched")) as log:
        disk.flushing = fail
        while not failures:
            append(log, 100)
        disk.flushing = lambda: None
        last = append(log, 1)
        assert [event.id for event in log.read("topic")] == list(range(1, last + 1))
