"""A disk that is full: really full, and one that refuses to let a file grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing.bench import TOPIC, add, event, every_event
from tests.logs.sqlite.children import run

LARGE = {"note": "x" * 2000}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def create_until_full(store: SessionStore) -> list[str]:
    """The tokens of all that were acknowledged before the disk was full."""
    tokens: list[str] = []
    with pytest.raises(LogUnavailable, match="full") as caught:
        while len(tokens) < 10_000:
            tokens.append(store.create("alice", attributes=LARGE).token)
    assert "nothing was written" in str(caught.value)
    return tokens


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return path


def check_holds_exactly(store: SessionStore, tokens: list[str]) -> None:
    assert all(store.get(token) for token in tokens)
    assert store.count() == len(tokens)
    assert store.verify().ok
    assert store.verify().events == len(tokens)


def test_a_full_disk_loses_nothing_and_recovers(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * 200_000)
    url = f"sqlite:///{small_disk}/ledger"
    with SessionStore.open(url) as store:
        tokens = create_until_full(store)
        assert tokens
        check_holds_exactly(store, tokens)
        filler.unlink()
        tokens.append(store.create("bob").token)
        check_holds_exactly(store, tokens)
    with SessionStore.open(url) as store:
        check_holds_exactly(store, tokens)


def test_a_unit_that_does_not_fit_leaves_nothing_of_itself(small_disk: Path) -> None:
    log = SQLiteLog(small_disk / "ledger")
    add(log, [event()])
    fill(small_disk)
    with pytest.raises(LogUnavailable, match="full"):
        add(log, [event(note="x" * 1000) for _ in range(1000)])
    assert len(every_event(log)) == 1
    (small_disk / "filler").unlink()
    assert add(log, [event()]) == (2,)
    log.close()


REFUSED = """
import sys
from sessionledger import LogUnavailable
from sessionledger.logs.sqlite import SQLiteLog
try:
    SQLiteLog(sys.argv[1])
except LogUnavailable as error:
    print(error)
"""


def test_a_full_disk_refuses_a_new_ledger(small_disk: Path) -> None:
    filler = fill(small_disk)
    assert str(small_disk / "ledger") in run(REFUSED, small_disk / "ledger")
    filler.unlink()
    log = SQLiteLog(small_disk / "ledger")
    assert log.latest(TOPIC) == 0
    log.close()


# The same without mounting: this process may not let a file grow beyond a size.
LIMITED = """
import resource, signal, sys
from sessionledger import LogUnavailable, SessionStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with SessionStore.open(sys.argv[1]) as store:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    tokens = []
    try:
        while len(tokens) < 10_000:
            tokens.append(store.create("alice", attributes={"note": "x" * 2000}).token)
    except LogUnavailable as error:
        print(error)
    assert all(store.get(token) for token in tokens)
    assert store.count() == len(tokens), (store.count(), len(tokens))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        # SQLite calls this an I/O error, not a full disk: after that the log writes no more.
        store.create("bob")
    except LogUnavailable as error:
        print(error)
    assert store.count() == len(tokens)
    assert store.verify().ok
print(*tokens)
"""


def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger"
    message, poisoned, tokens = run(LIMITED, url).splitlines()
    assert str(tmp_path / "ledger") in message
    assert "open it again" in poisoned
    with SessionStore.open(url) as store:
        assert tokens
        check_holds_exactly(store, tokens.split())
        assert store.create("carol")
