"""The metrics of a service that has all of them, for the tests of rules and dashboards."""

from __future__ import annotations

import pytest

from tests.deploy.exposition import complete
from tests.servers import once


@pytest.fixture(scope="session")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> str:
    return once("exposition", lambda: complete(tmp_path_factory.mktemp("exposition")))
