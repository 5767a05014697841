"""Who may read the file, and what is said to those who may not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing.fixtures import TOPIC, add, event, every_event
from tests.logs.children import run


@pytest.fixture
def umask() -> Iterator[None]:
    """The usual umask, under which new files are readable by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    log = SQLiteLog(tmp_path / "ledger")
    add(log, [event()])
    every_event(log)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
    log.close()
    assert modes == {f"ledger{end}": 0o600 for end in ("", "-wal", "-shm", "-lock")}


# Root may read everything, so this goes on as nobody.
AS_NOBODY = """
import os, sys
from sessionledger import LogUnavailable
from sessionledger.logs.sqlite import SQLiteLog
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    os.chdir(sys.argv[1])
    SQLiteLog(sys.argv[2])
except LogUnavailable as error:
    print(error)
"""


@pytest.fixture
def folder(reachable: Path) -> Path:
    """A folder that nobody may enter, and in which it may write nothing."""
    return reachable


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.chmod(0o555)
    said = run(AS_NOBODY, folder, "ledger")
    assert "ermission" in said
    assert str(folder) in said
    assert list(folder.iterdir()) == []


def test_a_ledger_that_cannot_be_read_is_named(folder: Path) -> None:
    SQLiteLog(folder / "ledger").close()
    for one in folder.iterdir():
        one.chmod(0o600 if os.getuid() == 0 else 0o000)
    said = run(AS_NOBODY, folder, "ledger")
    assert "ermission" in said
    assert str(folder / "ledger") in said


def test_who_lacks_permission_is_told_what_to_do(folder: Path) -> None:
    folder.chmod(0o555)
    said = run(AS_NOBODY, folder, "ledger")
    assert f"no permission to read and write {folder}" in said


def test_a_folder_that_cannot_be_entered_is_named(folder: Path) -> None:
    folder.chmod(0o600 if os.getuid() == 0 else 0o000)
    assert str(folder) in run(AS_NOBODY, folder.parent, folder / "ledger")


READS_AS_NOBODY = """
import os, sys
from sessionledger import open_snapshot
import sessionledger.logs.sqlite.read_only_log
import sessionledger.logs.gap_fold
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
log = open_snapshot(f"sqlite:///{sys.argv[1]}")
print(log.topics())
log.close()
"""


def test_a_snapshot_is_read_in_a_folder_that_may_only_be_passed(folder: Path) -> None:
    log = SQLiteLog(folder / "ledger")
    add(log, [event()])
    for one in folder.iterdir():
        one.chmod(0o644)
    folder.chmod(0o711 if os.getuid() == 0 else 0o111)
    assert run(READS_AS_NOBODY, folder / "ledger") == f"{[TOPIC]}\n"
    folder.chmod(0o755)
    log.close()
