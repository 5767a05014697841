"""The durable offset: read whole or not at all, and believed only where it can be true."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.logs.file.recovery import durable_offset
from sessionledger.logs.file.recovery.durable_offset import (
    FLUSHED,
    Published,
    published,
    this_boot,
)
from sessionledger.testing.fixtures import concurrently


def publish(path: Path, upto: Published, boot: str) -> None:
    record = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        durable_offset.publish(record, upto, boot)
    finally:
        os.close(record)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "topic"


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_what_was_published_is_read(
    tmp_path_factory: pytest.TempPathFactory, end: int, claimed: int
) -> None:
    path = tmp_path_factory.mktemp("durable") / "topic"
    for boot, flushed in ((this_boot(), 7), (FLUSHED, end)):
        publish(path, Published(end, claimed, 0, 7), boot)
        assert published(path) == Published(end, claimed, 0, flushed)
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_published_is_nothing(path: Path) -> None:
    assert published(path) is None


def test_a_record_that_is_not_whole_is_nothing(path: Path) -> None:
    whole = Published(123456, 123456, 0, 123456, 12)
    publish(path, whole, FLUSHED)
    text = path.read_bytes()
    first = text.index(b"\n") + 1
    for index in range(len(text)):
        # The second line may be missing: an older version wrote the first one.
        left = None if index < first else whole._replace(newest=0)
        path.write_bytes(text[:index])
        assert published(path) == left
        path.write_bytes(text[:index] + bytes([text[index] ^ 1]) + text[index + 1 :])
        assert published(path) == left
    path.write_bytes(text + b"more")
    assert published(path) == whole


def test_the_newest_event_counts_only_for_its_own_offset(path: Path) -> None:
    publish(path, Published(9, 9, 0, 9, 3), FLUSHED)
    newest = path.read_bytes().partition(b"\n")[2]
    publish(path, Published(20, 20, 0, 20, 5), FLUSHED)
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n" + newest)
    assert published(path) == Published(20, 20, 0, 20)


def test_only_what_was_flushed_counts_after_a_boot(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(path, Published(9, 9, 0, 7), this_boot())
    assert published(path) == Published(9, 9, 0, 7)
    monkeypatch.setattr(durable_offset, "_BOOT", path.with_name("boot"))
    path.with_name("boot").write_text("another-boot\n")
    assert published(path) == Published(7, 7, 0, 7)
    path.with_name("boot").unlink()
    assert published(path) == Published(7, 7, 0, 7)


def test_a_reader_never_sees_half_a_record(path: Path) -> None:
    old, new = Published(0, 10**19, 0, 0), Published(10**19, 0, 0, 10**19)
    publish(path, old, FLUSHED)
    over = threading.Event()

    def write() -> None:
        for n in range(2000):
            publish(path, (old, new)[n % 2], FLUSHED)
        over.set()

    def read() -> None:
        while not over.is_set():
            assert published(path) in (old, new)

    concurrently(write, read, read)
