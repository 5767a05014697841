"""The logs that every test of a log runs on. A new log is one line in `LOGS`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.logs import bare_sqlite
from sessionledger.testing.bench import Bench, Harness

LOGS = {
    "memory": Harness(url=lambda _: "memory:"),
    "sqlite": Harness(
        url=lambda place: f"sqlite:///{quote(str(place))}",
        persists=True,
        shared=True,
        append_bare=bare_sqlite.append,
    ),
}

_PERSISTENT = [name for name, harness in LOGS.items() if harness.persists]
_SHARED = [name for name, harness in LOGS.items() if harness.shared]
_BARE = [name for name, harness in LOGS.items() if harness.append_bare]


def _bench(name: str, folder: Path) -> Iterator[Bench]:
    bench = Bench(LOGS[name], folder / "ledger")
    yield bench
    bench.close()


@pytest.fixture(params=LOGS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A work bench with any log."""
    yield from _bench(request.param, tmp_path)


@pytest.fixture(params=_PERSISTENT)
def persistent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A work bench with a log that can be opened again."""
    yield from _bench(request.param, tmp_path)


@pytest.fixture(params=_SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A work bench with a log that several processes may write."""
    yield from _bench(request.param, tmp_path)


@pytest.fixture(params=_BARE)
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A work bench with a log that the reference may write beside us."""
    yield from _bench(request.param, tmp_path)
