"""A service for each test, on a ledger in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sessionledger.server import Settings
from tests.server.web import Web

SETTINGS = Settings(ledger="memory:", sweep_interval=None)


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(SETTINGS) as web:
        yield web
