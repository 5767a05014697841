"""A disk that is full: really full, and one that refuses to let a file grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import LogUnavailable, SessionStore, open_log
from sessionledger.testing.fixtures import TOPIC, add, event, every_event
from tests.logs.children import run
from tests.logs.openers import address

LARGE = {"note": "x" * 2000}


@pytest.fixture(params=["sqlite", "file"])
def shared_name(request: pytest.FixtureRequest) -> str:
    """The name of a log that is on a disk of ours."""
    return str(request.param)


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


@pytest.fixture
def url(shared_name: str, small_disk: Path) -> str:
    """The address of a ledger on the small disk."""
    return address(shared_name, small_disk / "ledger")


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


def test_a_full_disk_loses_nothing_and_recovers(small_disk: Path, url: str) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * 200_000)
    with SessionStore.open(url) as store:
        tokens = create_until_full(store)
        assert tokens
        check_holds_exactly(store, tokens)
        filler.unlink()
        tokens.append(store.create("bob").token)
        check_holds_exactly(store, tokens)
    with SessionStore.open(url) as store:
        check_holds_exactly(store, tokens)


def test_a_unit_that_does_not_fit_leaves_nothing_of_itself(small_disk: Path, url: str) -> None:
    log = open_log(url)
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
from sessionledger import LogUnavailable, open_log
from sessionledger.testing.fixtures import TOPIC, add, event, every_event
try:
    add(open_log(sys.argv[1]), [event()])
except LogUnavailable as error:
    print(error)
"""


def test_a_full_disk_refuses_what_a_new_ledger_begins_with(small_disk: Path, url: str) -> None:
    filler = fill(small_disk)
    assert str(small_disk / "ledger") in run(REFUSED, url)
    filler.unlink()
    log = open_log(url)
    assert log.latest(TOPIC) == 0
    log.close()
