"""The space of removed events comes back: by itself, and by a vacuum in an older file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.logs.sqlite.writer import Writer
from sessionledger.testing import Clock
from tests.logs import bare_sqlite
from tests.logs.openers import address

RETENTION = timedelta(days=2)
NOTE = {"note": "x" * 4000}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def opened(path: Path, clock: Clock) -> SessionStore:
    return SessionStore.open(address("sqlite", path), clock=clock, durability="normal")


def make_old(path: Path) -> None:
    """An empty file without auto_vacuum, as older versions made it."""
    for statement in ("CREATE TABLE t (a)", "DROP TABLE t"):
        bare_sqlite.execute(path, statement)


def fill(store: SessionStore, clock: Clock, events: int = 200) -> str:
    """Events of three days ago, and the token of their session."""
    token = store.create("alice", ttl=timedelta(days=90)).token
    for number in range(events):
        store.touch(token, attributes=NOTE | {"number": number})
    clock.advance(timedelta(days=3))
    return token


def size_of(path: Path) -> int:
    """The size of the file, with all that is in its log."""
    bare_sqlite.execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


@pytest.mark.middle
def test_a_new_file_shrinks_in_steps_while_others_write(path: Path, clock: Clock) -> None:
    url, written, stop = address("sqlite", path), list[str](), threading.Event()

    def write() -> None:
        with SessionStore.open(url, clock=clock, durability="normal") as store:
            while not stop.is_set():
                written.append(store.create("bob", ttl=timedelta(days=90)).token)

    with SessionStore.open(url, clock=clock, durability="normal") as store:
        token = fill(store, clock, 600)
        before = size_of(path)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert store.compact(retention=RETENTION).events >= 600
        finally:
            stop.set()
            writer.join()
        assert store.get(token)
        assert written
        assert store.count(principal="bob") == len(written)
        assert store.verify().ok
        assert size_of(path) < before / 4
        # What the other one freed after the compaction's last step goes at the next one.
        clock.advance(timedelta(days=3))
        assert store.compact(retention=RETENTION).sealed
        assert store._log._change(Writer.free_pages) == 0  # type: ignore[attr-defined]


def test_a_vacuum_makes_an_older_file_smaller_now_and_after_each_compaction(
    path: Path, clock: Clock
) -> None:
    make_old(path)
    with opened(path, clock) as store:
        tokens = [fill(store, clock)]
        before = size_of(path)
        assert store.compact(retention=RETENTION).sealed
        assert size_of(path) >= before
        head, rows = store.head(), [store.get(token) for token in tokens]
        assert not store.compact(retention=RETENTION, vacuum=True).sealed
        small = size_of(path)
        assert small < before / 4
        assert (store.head(), [store.get(token) for token in tokens]) == (head, rows)
        tokens.append(fill(store, clock))
        assert size_of(path) > small * 4
        assert store.compact(retention=RETENTION).sealed
        assert size_of(path) < before / 4
        assert all(store.get(token) for token in tokens)
        assert store.verify().ok
        assert {finding.code for finding in store.diagnose()} <= {"open_to_others"}


def test_a_vacuum_leaves_a_file_alone_that_gives_space_back_by_itself(
    path: Path, clock: Clock
) -> None:
    with opened(path, clock) as store:
        fill(store, clock)
        store.compact(retention=RETENTION)
        size_of(path)
        before = path.read_bytes()
        store.compact(retention=timedelta(days=90), vacuum=True)
        size_of(path)
        # The sweep and the lease write their lines; no page moves.
        assert len(path.read_bytes()) == len(before)


def test_another_process_goes_on_after_a_vacuum(path: Path, clock: Clock) -> None:
    make_old(path)
    url = address("sqlite", path)
    with (
        SessionStore.open(url, clock=clock, durability="normal") as store,
        SessionStore.open(url, clock=clock, durability="normal") as other,
    ):
        token = fill(store, clock)
        assert other.get(token)
        store.compact(retention=RETENTION, vacuum=True)
        store.touch(token, attributes={"step": 2})
        found = other.get(token)
        assert found is not None
        assert found.attributes == {"step": 2}
        assert other.expire(token)
        assert store.get(token) is None


@pytest.mark.parametrize("is_base_first", [True, False])
def test_tombstones_fill_the_pages_of_their_tables(
    path: Path, clock: Clock, is_base_first: bool
) -> None:
    with opened(path, clock) as store:
        tokens = [f"a token that somebody supplied, {number}" for number in range(200)]
        for token in tokens:
            store.create("alice", token=token, ttl=timedelta(days=9))
        if is_base_first:
            clock.advance(timedelta(days=3))
            store.create("bob", ttl=timedelta(days=9))
            store.compact(retention=RETENTION)
        for token in tokens:
            store.expire(token)
        clock.advance(timedelta(days=3))
        store.create("carol")
        assert store.compact(retention=RETENTION).sessions == 200
    unused = "SELECT sum(unused) FROM dbstat WHERE name IN ('ledger_rows', 'ledger_base')"
    ((found,),) = apsw.Connection(str(path)).execute(unused).fetchall()
    assert int(str(found)) / len(tokens) < 100


@pytest.mark.parametrize("log", ["memory", "postgresql"])
def test_a_log_without_a_file_to_vacuum_refuses_before_anything_is_removed(
    log: str, tmp_path: Path, clock: Clock
) -> None:
    url = "memory:" if log == "memory" else address(log, tmp_path / "ledger")
    with SessionStore.open(url, clock=clock, durability="normal") as store:
        fill(store, clock, 2)
        with pytest.raises(LogUnavailable, match="--vacuum"):
            store.compact(retention=RETENTION, vacuum=True)
        assert len(list(store.events())) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_vacuum_without_enough_space_changes_nothing(small_disk: Path, clock: Clock) -> None:
    path = small_disk / "ledger"
    make_old(path)
    with opened(path, clock) as store:
        fill(store, clock, 50)
        clock.advance(-timedelta(days=3))
        token = fill(store, clock, 250)
        size_of(path)
        left = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(b"\0" * (left.f_bavail * left.f_frsize - 400_000))
        head = store.head()
        with pytest.raises(LogUnavailable, match="full"):
            store.compact(retention=timedelta(days=30), vacuum=True)
        assert store.head() == head
        (small_disk / "filler").unlink()
        assert store.touch(token)
        assert store.verify().ok
