"""A backup has what the ledger has, and is no ledger itself."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import LogUnavailable, MaintenanceRunning, NotALedger, SessionStore, diagnose
from sessionledger.testing import Clock
from tests.logs import bare_sqlite
from tests.store.facade import URLS

DAY = timedelta(days=1)


def on(url: str, clock: Clock) -> SessionStore:
    return SessionStore.open(url, clock=clock, monotonic=lambda: clock.now.timestamp())


@pytest.mark.parametrize("backend", URLS)
def test_a_backup_has_the_head_of_the_ledger_and_no_token(backend: str, tmp_path: Path) -> None:
    with SessionStore.open(URLS[backend](tmp_path / "ledger")) as store:
        tokens = [store.create(f"user {n}", ttl=DAY).token for n in range(5)]
        store.expire(tokens[0])
        backup = store.backup(tmp_path / "backup")
        assert backup.ok
        assert [topic.head for topic in backup.topics] == [store.head()]
        assert backup.bytes == backup.path.stat().st_size
    content = backup.path.read_bytes()
    assert b"user 3" in content
    assert not any(token.encode() in content for token in tokens)
    assert backup.path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir() if "draft" in one.name] == []


def test_nothing_opens_a_backup_as_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with SessionStore.open("memory:") as store:
        store.create("alice", ttl=DAY)
        store.backup(path)
    for opening in (SessionStore.open, diagnose):
        with pytest.raises(NotALedger, match="sessionledger restore"):
            opening(f"sqlite:///{path}")
    # An older version of this package refuses whatever number it does not know.
    schema = sqlite3.connect(path).execute("SELECT value FROM ledger_meta WHERE name = 'schema'")
    assert schema.fetchone()[0] > 1_000_000


def test_a_backup_replaces_no_file_and_leaves_nothing_where_it_fails(tmp_path: Path) -> None:
    with SessionStore.open("memory:") as store:
        store.create("alice", ttl=DAY)
        path = tmp_path / "backup"
        path.write_text("precious")
        with pytest.raises(LogUnavailable, match="exists"):
            store.backup(path)
        assert path.read_text() == "precious"
        with pytest.raises(LogUnavailable):
            store.backup(tmp_path / "no folder" / "backup")
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_backups_to_one_name_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with SessionStore.open("memory:") as store, SessionStore.open("memory:") as other:
        store.create("alice", ttl=DAY)
        other.create("bob", ttl=DAY)

        def meanwhile(_: int) -> None:
            if not path.exists():
                other.backup(path)

        with pytest.raises(LogUnavailable, match="exists"):
            store.backup(path, progress=meanwhile)
    assert b"bob" in path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("backend", "name"),
    [("sqlite", "ledger-journal"), ("file", "ledger/topics/more.jsonl"), ("file", "ledger/backup")],
)
def test_a_backup_is_never_taken_for_a_part_of_its_ledger(
    backend: str, name: str, tmp_path: Path
) -> None:
    with SessionStore.open(
        URLS[backend](tmp_path / "ledger"), timeout=timedelta(seconds=1)
    ) as store:
        live = store.create("alice", ttl=DAY)
        with pytest.raises(LogUnavailable, match="part of the ledger"):
            store.backup(tmp_path / name)
        assert store.touch(live.token) is not None
    with SessionStore.open(
        URLS[backend](tmp_path / "ledger"), timeout=timedelta(seconds=1)
    ) as store:
        assert store.verify().ok


@pytest.mark.parametrize("name", ["n" * 250, "n" * 300, "file/backup", "loop", "a\0b", "\ud800"])
def test_a_backup_refuses_a_name_that_the_system_refuses(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    with SessionStore.open("memory:") as store, pytest.raises(LogUnavailable):
        store.backup(str(tmp_path / name))
    assert sorted(tmp_path.iterdir()) == before


def test_a_link_to_no_file_yet_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "backup")
    with SessionStore.open("memory:") as store:
        assert store.backup(tmp_path / "link").path == tmp_path / "backup"
    assert (tmp_path / "link").is_symlink()


def test_nothing_opens_what_a_killed_backup_left(tmp_path: Path) -> None:
    def kill(_: int) -> None:
        for left in tmp_path.glob(".backup.*"):
            shutil.copy(left, tmp_path / left.name.replace(".backup", "left"))

    with SessionStore.open("memory:") as store:
        store.create("alice", ttl=DAY)
        store.backup(tmp_path / "backup", progress=kill)
    (left,) = tmp_path.glob("left.*.draft")
    with pytest.raises(NotALedger, match="sessionledger restore"):
        SessionStore.open(f"sqlite:///{left}")


def test_what_was_acknowledged_before_a_backup_is_in_it_however_many_write(tmp_path: Path) -> None:
    url = URLS["sqlite"](tmp_path / "ledger")
    stop = threading.Event()
    with SessionStore.open(url) as store, SessionStore.open(url) as other:

        def write() -> None:
            while not stop.is_set():
                other.create("bob", ttl=DAY)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for n in range(5):
                while store.head().id < 20 * (n + 1):
                    store.create("alice", ttl=DAY)
                before = store.head().id
                backup = store.backup(tmp_path / f"backup {n}")
                assert backup.ok
                assert backup.topics[0].head.id >= before
        finally:
            stop.set()
            writer.join()


def compacting(store: SessionStore, clock: Clock, times: int) -> Callable[[int], None]:
    """Compacts amid each of so many copies."""
    left = times

    def told(_: int) -> None:
        nonlocal left
        if left:
            left -= 1
            store.create("alice", ttl=900 * DAY)
            clock.advance(3 * DAY)
            assert store.compact(retention=2 * DAY).sealed

    return told


def test_a_compaction_meanwhile_has_the_copy_begin_again(tmp_path: Path) -> None:
    clock = Clock()
    with on(URLS["sqlite"](tmp_path / "ledger"), clock) as store:
        for _ in range(1001):
            store.create("alice", ttl=900 * DAY)
        backup = store.backup(tmp_path / "backup", progress=compacting(store, clock, 1))
        assert backup.ok
        assert backup.topics[0].cut == store.verify().cut > 0
        for _ in range(1001):
            store.create("bob", ttl=900 * DAY)
        with pytest.raises(MaintenanceRunning):
            store.backup(tmp_path / "another", progress=compacting(store, clock, 9))
    assert not (tmp_path / "another").exists()


def test_a_break_of_the_ledgers_chain_is_told_and_kept(tmp_path: Path) -> None:
    url = URLS["sqlite"](tmp_path / "ledger")
    with SessionStore.open(url) as store:
        for _ in range(3):
            store.create("alice", ttl=DAY)
    bare_sqlite.execute(tmp_path / "ledger", "UPDATE events SET kind = 'x' WHERE event_id = 2")
    with SessionStore.open(url) as store:
        backup = store.backup(tmp_path / "backup")
    assert not backup.ok
    broken = backup.topics[0].broken
    assert broken is not None
    assert broken.id == 2
