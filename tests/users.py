"""Other users of the machine, as whom a test goes on in a forked child. Only root can do that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sessionledger.testing.forked_child import fork, reap

OWNER = 4001
FRIEND = 4002
STRANGER = 65534
GROUP = 4100

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as several users")


def as_user(user: int, work: Callable[[], object], *groups: int) -> str:
    """What the work answers as that user, or the error that it met, in a process of its own."""
    reading, writing = os.pipe()

    def go_on() -> None:
        os.setgroups(groups)
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        os.umask(0o022)
        try:
            said = str(work())
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())

    child = fork(go_on)
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        said = told.read()
    assert reap(child) == 0
    return said


@contextmanager
def folder_of(user: int, mode: int = 0o700, group: int = -1) -> Iterator[Path]:
    """A folder of that user, outside the folders of tests, which only root may enter."""
    with TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "folder"
        folder.mkdir()
        os.chown(folder, user, group)
        folder.chmod(mode)
        yield folder


def owner_and_mode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_mode & 0o7777
