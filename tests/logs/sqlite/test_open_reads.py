"""A read that stays open: the log that grows meanwhile is given back, and the reader is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sessionledger import SessionStore
from sessionledger.logs.sqlite.connection import WAL_BYTES
from sessionledger.logs.sqlite.examination import reading_processes

READS = """
import sys, apsw
connection = apsw.Connection(sys.argv[1], flags=apsw.SQLITE_OPEN_READONLY)
connection.execute("BEGIN; SELECT count(*) FROM events").fetchall()
print("reads", flush=True)
sys.stdin.readline()
"""


@contextmanager
def another_reads(path: Path) -> Iterator[int]:
    """The id of a process that keeps a read of the file open."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", READS, str(path)], **pipes) as reader:  # type: ignore[call-overload]
        assert reader.stdout.readline() == b"reads\n"
        yield reader.pid
        reader.communicate(b"\n")


def grow(store: SessionStore, wal: Path, size: int) -> None:
    token = store.create("alice").token
    number = 0
    while wal.stat().st_size <= size:
        number += 1
        store.touch(token, attributes={"n": number, "x": "y" * 50_000})


def test_the_doctor_names_who_reads_while_the_log_grows(tmp_path: Path) -> None:
    path, wal = tmp_path / "ledger.db", tmp_path / "ledger.db-wal"
    with SessionStore.open(f"sqlite:///{path}", durability="normal") as store:
        store.create("alice")
        with another_reads(path) as pid:
            assert reading_processes(path.with_name("ledger.db-shm")) == [pid]
            assert "wal_held" not in {finding.code for finding in store.diagnose()}
            grow(store, wal, 2 * WAL_BYTES)
            found = [one for one in store.diagnose() if one.code == "wal_held"]
            assert [one.subject for one in found] == [str(wal)]
            assert f"process {pid} (python" in found[0].problem
        assert reading_processes(path.with_name("ledger.db-shm")) == []
        assert "wal_held" not in {finding.code for finding in store.diagnose()}


def test_what_a_long_read_made_the_log_grow_by_is_given_back(tmp_path: Path) -> None:
    path, wal = tmp_path / "ledger.db", tmp_path / "ledger.db-wal"
    with SessionStore.open(f"sqlite:///{path}", durability="normal") as store:
        store.create("alice")
        with another_reads(path):
            grow(store, wal, 2 * WAL_BYTES)
        token = store.create("carol").token
        for number in range(1000):
            store.touch(token, attributes={"n": number, "x": "y" * 50_000})
            if wal.stat().st_size <= WAL_BYTES:
                break
        assert wal.stat().st_size <= WAL_BYTES
