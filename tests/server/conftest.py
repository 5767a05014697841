"""A service for each test, on a ledger in memory; or one for a module, in a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger.server import Settings, create_app
from sessionledger.server.asgi_app import Application
from tests.server.served import Served, make_key
from tests.server.web import Web

SETTINGS = Settings(ledger="memory:", sweep_interval=None)


@pytest.fixture(scope="session")
def application() -> Application:
    """One application for all tests, which runs anew for each: making it takes longer than most."""
    return create_app(SETTINGS)


@pytest.fixture
def web(application: Application) -> Iterator[Web]:
    with Web(application) as web:
        yield web


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ledger of a module's service is."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    """An admin key that may do everything there."""
    return make_key(folder, "root")


@pytest.fixture(scope="module")
def served(folder: Path, key: str, request: pytest.FixtureRequest) -> Iterator[Served]:
    """The service, with the options that the module says."""
    options = getattr(request.module, "OPTIONS", ("--no-access-log",))
    with Served(folder, *options) as served:
        yield served
