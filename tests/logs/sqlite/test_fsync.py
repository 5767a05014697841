"""A disk that fails to fsync: what it kept can't be known, so the log writes no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing.fixtures import concurrently
from sessionledger.testing.forked_child import in_fork


class BrokenFile(apsw.VFSFile):
    """A file of a disk that can be broken."""

    def __init__(self, disk: BrokenDisk, name: str | apsw.URIFilename | None, flags: list[int]):
        super().__init__("", name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        if self._disk.broken:
            self._disk.refused += 1
            raise apsw.IOError("the disk does not answer")
        super().xSync(flags)


class BrokenDisk(apsw.VFS):
    """The default VFS, whose fsync fails while it is `broken`."""

    def __init__(self, name: str) -> None:
        self.broken = False
        self.refused = 0
        super().__init__(name, "")

    def xOpen(  # noqa: N802  SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return BrokenFile(self, name, flags)


@pytest.fixture
def disk() -> Iterator[BrokenDisk]:
    disk = BrokenDisk("broken")
    yield disk
    disk.unregister()


@pytest.fixture
def log(disk: BrokenDisk, tmp_path: Path) -> Iterator[SQLiteLog]:
    log = SQLiteLog(tmp_path / "ledger", vfs="broken")
    yield log
    disk.broken = False
    log.close()


def refusal(append: Callable[[], object]) -> str:
    with pytest.raises(LogUnavailable) as caught:
        append()
    return str(caught.value)


def test_it_works_while_the_disk_does(log: SQLiteLog, disk: BrokenDisk) -> None:
    store = SessionStore(log)
    assert store.get(store.create("alice").token) is not None
    assert disk.refused == 0


def test_an_append_that_was_not_synced_fails(log: SQLiteLog, disk: BrokenDisk) -> None:
    store = SessionStore(log)
    store.create("alice")
    disk.broken = True
    assert str(log.path) in refusal(lambda: store.create("alice"))
    assert disk.refused >= 1
    assert store.count() == 1


def test_afterwards_nothing_is_appended_though_the_disk_recovers(
    log: SQLiteLog, disk: BrokenDisk
) -> None:
    store = SessionStore(log)
    token = store.create("alice").token
    disk.broken = True
    refusal(lambda: store.create("alice"))
    disk.broken = False
    for append in (
        lambda: store.create("alice"),
        lambda: store.expire(token),
        lambda: log.ack("topic", "consumer", 1),
        store.rebuild,
        log.flush,
    ):
        assert "close the ledger and open it again" in refusal(append)
    assert store.get(token) is not None


def test_other_threads_are_refused_too(log: SQLiteLog, disk: BrokenDisk) -> None:
    store = SessionStore(log)
    token = store.create("alice").token
    disk.broken = True
    said = concurrently(*[lambda: refusal(lambda: store.create("bob"))] * 4)
    disk.broken = False
    said += concurrently(*[lambda: refusal(lambda: store.create("bob"))] * 4)
    assert all(str(log.path) in one for one in said)
    assert all("open it again" in one for one in said[4:])
    assert concurrently(*[lambda: store.get(token)] * 4) == [store.get(token)] * 4


def test_reads_still_answer(log: SQLiteLog, disk: BrokenDisk) -> None:
    store = SessionStore(log)
    issued = store.create("alice")
    disk.broken = True
    refusal(lambda: store.create("alice"))
    assert store.get(issued.token) is not None
    assert [one.handle for one in store.sessions(principal="alice")] == [issued.handle]
    assert [one.id for one in store.events()] == [1]
    assert len(list(store.history(handle=issued.handle))) == 1
    assert store.head().id == 1


def test_opened_again_it_works_and_the_chain_holds(log: SQLiteLog, disk: BrokenDisk) -> None:
    store = SessionStore(log)
    tokens = [store.create("alice").token for _ in range(3)]
    disk.broken = True
    refusal(lambda: store.create("alice"))
    disk.broken = False
    log.close()
    with SessionStore.open(f"sqlite:///{log.path}") as again:
        tokens.append(again.create("bob").token)
        assert all(again.get(token) for token in tokens)
        assert again.verify().ok
        assert again.verify().events == 4


def test_a_log_on_a_broken_disk_can_be_closed(log: SQLiteLog, disk: BrokenDisk) -> None:
    store = SessionStore(log)
    token = store.create("alice").token
    disk.broken = True
    refusal(lambda: store.create("alice"))
    with suppress(LogUnavailable):
        log.close()
    with SessionStore.open(f"sqlite:///{log.path}") as again:
        assert again.get(token) is not None
        assert again.verify().ok


def test_a_fork_forgets_nothing_of_it(log: SQLiteLog, disk: BrokenDisk) -> None:
    store = SessionStore(log)
    token = store.create("alice").token
    disk.broken = True
    refusal(lambda: store.create("alice"))
    disk.broken = False

    def refused() -> None:
        assert "open it again" in refusal(lambda: store.create("bob"))
        assert store.get(token) is not None

    in_fork(refused)
    refused()


def test_without_a_sync_there_is_none_to_fail(disk: BrokenDisk, tmp_path: Path) -> None:
    log = SQLiteLog(tmp_path / "ledger", vfs="broken", durability="normal")
    disk.broken = True
    store = SessionStore(log)
    assert store.get(store.create("alice").token) is not None
    assert disk.refused == 0
    disk.broken = False
    log.close()
