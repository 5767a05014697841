"""What a replayed loss of power leaves: all that was flushed, and any part of the rest."""

from __future__ import annotations

import random
from pathlib import Path

from torture.powerloss import Record, Unflushed, replay

FOLDER = Path("/disk")
FILE, OTHER = "/disk/log", "/disk/next"
INODE = 5

CREATED = Record("c", 1, INODE, 0, FILE, b"")


def written(data: bytes, offset: int = 0) -> Record:
    return Record("w", 1, INODE, offset, FILE, data)


def flushed(kind: str, path: str, number: int) -> list[Record]:
    inode = INODE if kind == "s" else 0
    return [Record("b", 1, 0, number, path, b""), Record(kind, 1, inode, number, path, b"")]


def image(
    tmp_path: Path, records: list[Record], unflushed: Unflushed = "none", *, strict: bool = True
) -> dict[str, bytes]:
    """The files that are left, by name."""
    before = tmp_path / "before"
    before.mkdir()
    disk, _ = replay(before, FOLDER, records, len(records))
    disk.write(tmp_path / "image", random.Random(1), unflushed, strict=strict)
    return {path.name: path.read_bytes() for path in (tmp_path / "image").iterdir()}


NAMED = flushed("d", "/disk", 1)


def test_a_name_that_was_not_flushed_is_gone(tmp_path: Path) -> None:
    assert image(tmp_path, [CREATED, written(b"a"), *flushed("s", FILE, 1)]) == {}


def test_what_was_flushed_is_there(tmp_path: Path) -> None:
    records = [CREATED, *NAMED, written(b"abc"), *flushed("s", FILE, 2), written(b"d", 3)]
    assert image(tmp_path, records) == {"log": b"abc"}


def test_what_was_written_after_a_flush_began_is_not_flushed(tmp_path: Path) -> None:
    begun, done = flushed("s", FILE, 2)
    assert image(tmp_path, [CREATED, *NAMED, begun, written(b"abc"), done]) == {"log": b""}


def test_a_page_may_be_there_before_an_earlier_one(tmp_path: Path) -> None:
    records = [CREATED, *NAMED, written(b"a" * 4096 * 8)]
    (content,) = image(tmp_path, records, "4096").values()
    assert b"\0a" in content


def test_a_file_that_was_renamed_has_its_old_name_until_that_is_flushed(tmp_path: Path) -> None:
    renamed = Record("r", 1, 0, 0, FILE, OTHER.encode())
    assert image(tmp_path, [CREATED, *NAMED, renamed]) == {"log": b""}


def test_a_cut_that_was_not_flushed_may_not_have_happened(tmp_path: Path) -> None:
    cut = Record("t", 1, INODE, 1, FILE, b"")
    records = [CREATED, *NAMED, written(b"abc"), *flushed("s", FILE, 2), cut]
    assert image(tmp_path, records) == {"log": b"abc"}


def test_all_of_it_may_be_there(tmp_path: Path) -> None:
    records = [CREATED, written(b"abc")]
    assert image(tmp_path, records, "all", strict=False) == {"log": b"abc"}
