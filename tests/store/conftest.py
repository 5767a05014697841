"""Both stores on every log, at a clock that stands still until it is told to move."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.testing.clock import Clock
from tests.store.facade import EACH, Bench

TOKEN = "harn_sess_test_abcdefghijklmnopqrstuvwxyz0123456789"
OTHER = "harn_sess_test_other_klmnopqrstuvwxyz0123456789"


@pytest.fixture(params=EACH)
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


@pytest.fixture(scope="module", params=EACH)
def settled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SessionStore]:
    """A store with one live session, the token's, for all tests of a module that change nothing."""
    bench = Bench(request.param, tmp_path_factory.mktemp("settled") / "ledger.db")
    store = bench.open()
    store.create("alice", token=TOKEN, ttl=timedelta(days=1), attributes={"role": "reader"})
    yield store
    bench.close()
