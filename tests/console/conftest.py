"""A console for each module, on a ledger with a key that may do everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.server.service.keys import SCOPES
from tests.console.running import Running, Visitor
from tests.server.served import make_key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[SessionStore]:
    """The sessions, as another process has them."""
    with SessionStore.open(f"sqlite:///{folder / 'sessions.db'}") as store:
        yield store


@pytest.fixture(scope="module")
def key(folder: Path, store: SessionStore) -> str:
    return make_key(folder, "ops", *SCOPES)


@pytest.fixture(scope="module")
def running(folder: Path, key: str) -> Iterator[Running]:
    running = Running(folder)
    yield running
    told = running.stop()
    assert key not in told
    assert "Traceback" not in told


@pytest.fixture
def visitor(running: Running, key: str) -> Visitor:
    """A browser that is logged in."""
    visitor = Visitor(running.url)
    assert visitor.log_in(key).status_code == 303
    return visitor
