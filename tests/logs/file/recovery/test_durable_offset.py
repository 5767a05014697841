"""The durable offset: read whole or not at all, and believed only where it can be true."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.logs.file.recovery import durable_offset
from sessionledger.logs.file.recovery.durable_offset import (
    FLUSHED,
    Published,
    publish,
    published,
    this_boot,
)
from sessionledger.ownership import owner_of
from sessionledger.testing.fixtures import concurrently

OWNER = owner_of(Path("/nowhere"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "topic"


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_what_was_published_is_read(
    tmp_path_factory: pytest.TempPathFactory, end: int, claimed: int
) -> None:
    path = tmp_path_factory.mktemp("durable") / "topic"
    for boot in (this_boot(), FLUSHED):
        publish(path, Published(end, claimed, 0), boot, OWNER)
        assert published(path) == Published(end, claimed, 0)
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_published_is_nothing(path: Path) -> None:
    assert published(path) is None


def test_a_record_that_is_not_whole_is_nothing(path: Path) -> None:
    publish(path, Published(123456, 123456, 0), FLUSHED, OWNER)
    text = path.read_bytes()
    for index in range(len(text)):
        path.write_bytes(text[:index])
        assert published(path) is None
        path.write_bytes(text[:index] + bytes([text[index] ^ 1]) + text[index + 1 :])
        assert published(path) is None
    path.write_bytes(text + b"more")
    assert published(path) == Published(123456, 123456, 0)


def test_what_was_not_flushed_counts_for_nothing_after_a_boot(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(path, Published(7, 7, 0), this_boot(), OWNER)
    assert published(path) == Published(7, 7, 0)
    monkeypatch.setattr(durable_offset, "_BOOT", path.with_name("boot"))
    path.with_name("boot").write_text("another-boot\n")
    assert published(path) is None
    path.with_name("boot").unlink()
    assert published(path) is None


def test_a_reader_never_sees_half_a_record(path: Path) -> None:
    old, new = Published(0, 10**19, 0), Published(10**19, 0, 0)
    publish(path, old, FLUSHED, OWNER)
    over = threading.Event()

    def write() -> None:
        for n in range(2000):
            publish(path, (old, new)[n % 2], FLUSHED, OWNER)
        over.set()

    def read() -> None:
        while not over.is_set():
            assert published(path) in (old, new)

    concurrently(write, read, read)
