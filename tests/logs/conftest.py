"""The logs that every test of a log runs on. A new log is an address and one entry in `LOGS`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sessionledger.testing import Harness
from sessionledger.testing.fixtures import Ledger
from tests.logs import bare_file, bare_postgres, bare_sqlite
from tests.logs.openers import address, open_at

LOGS = {
    "memory": Harness(open=partial(open_at, "memory"), compacts=True),
    "sqlite": Harness(
        open=partial(open_at, "sqlite"),
        compacts=True,
        copies=True,
        persists=True,
        shared=True,
        forks=True,
        append_bare=bare_sqlite.append,
        empty=bare_sqlite.empty,
    ),
    "file": Harness(
        open=partial(open_at, "file"),
        compacts=True,
        copies=True,
        persists=True,
        shared=True,
        forks=True,
        append_bare=bare_file.append_elsewhere,
    ),
    "postgresql": Harness(
        open=partial(open_at, "postgresql"),
        compacts=True,
        copies=True,
        persists=True,
        shared=True,
        forks=True,
        documents=True,
        append_bare=bare_postgres.append,
        empty=bare_postgres.empty,
    ),
}


@pytest.fixture(params=LOGS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger under test, with any log."""
    ledger = Ledger(LOGS[request.param], tmp_path / "ledger")
    yield ledger
    ledger.close()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that nobody may enter and read, and in which it may write nothing.

    It is not in the folder of all tests, whose mode every run of tests sets.
    """
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        locked = Path(folder) / "locked"
        locked.mkdir(mode=0o755)
        yield locked
        for one in [locked, *locked.rglob("*")]:
            one.chmod(0o755)


@pytest.fixture(params=[name for name, harness in LOGS.items() if harness.shared])
def shared_name(request: pytest.FixtureRequest) -> str:
    """The name of a log that several processes may write."""
    return str(request.param)


@pytest.fixture
def url(shared_name: str, tmp_path: Path) -> str:
    """The address of a ledger that several processes may write, and that is not there yet."""
    return address(shared_name, tmp_path / "ledger")
