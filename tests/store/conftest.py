"""Both stores on every embedded log, at a clock that stands still until it is told to move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.testing.clock import Clock
from tests.store.facade import KINDS, Bench

TOKEN = "harn_sess_test_abcdefghijklmnopqrstuvwxyz0123456789"
OTHER = "harn_sess_test_other_klmnopqrstuvwxyz0123456789"


@pytest.fixture(params=KINDS, ids=str)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(request.param, tmp_path / "ledger.db")
    yield bench
    bench.close()


@pytest.fixture
def clock(bench: Bench) -> Clock:
    return bench.clock


@pytest.fixture
def store(bench: Bench) -> SessionStore:
    return bench.open()
