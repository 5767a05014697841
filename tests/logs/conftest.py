"""The logs that every test of a log runs on. A new log is an address and one entry in `LOGS`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from sessionledger import Log, open_log
from sessionledger.testing import Harness
from sessionledger.testing.bench import Bench
from tests.logs import bare_file, bare_sqlite

ADDRESSES = {"memory": "memory:", "sqlite": "sqlite:///{}", "file": "file://{}"}


def address(name: str, place: Path) -> str:
    """The address of a log at a place."""
    return ADDRESSES[name].format(quote(str(place)))


def _open(name: str, place: Path) -> Log:
    return open_log(address(name, place))


LOGS = {
    "memory": Harness(open=partial(_open, "memory")),
    "sqlite": Harness(
        open=partial(_open, "sqlite"),
        persists=True,
        shared=True,
        forks=True,
        append_bare=bare_sqlite.append,
        empty=bare_sqlite.empty,
    ),
    "file": Harness(
        open=partial(_open, "file"),
        persists=True,
        shared=True,
        forks=True,
        append_bare=bare_file.append_elsewhere,
    ),
}


@pytest.fixture(params=LOGS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A work bench with any log."""
    bench = Bench(LOGS[request.param], tmp_path / "ledger")
    yield bench
    bench.close()


@pytest.fixture(params=[name for name, harness in LOGS.items() if harness.shared])
def shared_name(request: pytest.FixtureRequest) -> str:
    """The name of a log that several processes may write."""
    return str(request.param)


@pytest.fixture
def url(shared_name: str, tmp_path: Path) -> str:
    """The address of a ledger that several processes may write, and that is not there yet."""
    return address(shared_name, tmp_path / "ledger")
