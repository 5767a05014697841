"""Opening a ledger, and the first read: what that reads from the disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionledger import SessionStore
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing import Clock

DAY = timedelta(days=1)


class Disk(apsw.VFS):
    """Counts the reads. Without a map of the file every page that is needed is one."""

    name = "counting-reads"

    def __init__(self) -> None:
        super().__init__(self.name, "")
        self.reads = 0

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return File(self, name, flags)


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.reads += 1
        return super().xRead(amount, offset)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


def test_it_grows_with_neither_the_days_nor_the_sessions_that_ended(
    tmp_path: Path, disk: Disk
) -> None:
    path, clock = tmp_path / "ledger.db", Clock()
    with SessionStore.open(f"sqlite:///{path}", clock=clock) as store:
        kept = store.create("alice", ttl=365 * DAY).token
    reads = []
    for days in (range(8), range(8, 30)):
        with SessionStore.open(f"sqlite:///{path}", clock=clock, durability="normal") as store:
            for day in days:
                pass_day(store, kept, clock, day)
        before = disk.reads
        log = SQLiteLog(path, vfs=disk.name)
        assert SessionStore(log, clock=clock).get(kept) is not None
        log.close()
        reads.append(disk.reads - before)
    assert 0 < reads[1] <= reads[0] + 1


def pass_day(store: SessionStore, kept: str, clock: Clock, day: int) -> None:
    for number in range(10):
        token = f"a supplied token that is long enough, {day} {number}"
        store.expire(store.create(f"user {number}", token=token).token)
    clock.advance(DAY)
    assert store.touch(kept) is not None
    assert (store.compact(retention=2 * DAY).events > 0) == (day > 0)
