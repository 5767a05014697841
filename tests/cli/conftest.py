"""A command line in a folder of the test, and the command as something that can be started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cli.forking import commands
from tests.cli.locked import lock
from tests.cli.running import Line
from tests.cli.screen import Screen


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the command, forked for each call."""
    folder = tmp_path_factory.mktemp("commands")
    with commands(folder):
        yield folder


@pytest.fixture
def screen(line: Line, apart: Path) -> Screen:
    return Screen(line, [str(apart / "sessionledger")])


@pytest.fixture
def locked() -> Iterator[Line]:
    """A ledger that nobody may read and not write, in a folder that nobody may enter.

    Not among the other folders of the tests, which nobody may enter at all.
    """
    with TemporaryDirectory() as folder:
        line = Line(Path(folder))
        line.create("alice")
        line.create("bob")
        lock(line.folder)
        yield line
        line.folder.chmod(0o700)
