"""The logs that every test of a log runs on. A new log is one entry in `LOGS`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import Log
from sessionledger.logs.memory import MemoryLog
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing import Harness
from sessionledger.testing.bench import Bench
from tests.logs import bare_sqlite


def _memory(_: Path) -> Log:
    return MemoryLog()


LOGS = {
    "memory": Harness(open=_memory),
    "sqlite": Harness(
        open=SQLiteLog,
        persists=True,
        shared=True,
        forks=True,
        append_bare=bare_sqlite.append,
        empty=bare_sqlite.empty,
    ),
}


@pytest.fixture(params=LOGS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A work bench with any log."""
    bench = Bench(LOGS[request.param], tmp_path / "ledger")
    yield bench
    bench.close()
