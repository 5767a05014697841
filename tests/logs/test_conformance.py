"""The suite that is shipped, on every log of ours: as it is, and through the bridge."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sessionledger.logs.base import AsyncLog
from sessionledger.logs.bridge import Threaded
from sessionledger.testing import AsyncHarness, Harness
from sessionledger.testing.conformance import LogConformance, RowConformance
from sessionledger.testing.harness import Declared
from tests.logs.conftest import LOGS


async def _bridge(harness: Harness, place: Path) -> AsyncLog:
    return Threaded(harness.open(place))


def _bridged(harness: Harness) -> AsyncHarness:
    declared = {name: getattr(harness, name) for name in Declared.__dataclass_fields__}
    return AsyncHarness(open=partial(_bridge, harness), **declared)


class TestLogs(LogConformance):
    @pytest.fixture(params=LOGS)
    def declared(self, request: pytest.FixtureRequest) -> Harness:
        return LOGS[request.param]


class TestAsyncLogs(LogConformance):
    @pytest.fixture(params=LOGS)
    def declared(self, request: pytest.FixtureRequest) -> AsyncHarness:
        return _bridged(LOGS[request.param])


@pytest.mark.slow
class TestManyRounds(RowConformance):
    @pytest.fixture(params=LOGS)
    def declared(self, request: pytest.FixtureRequest) -> Harness:
        return replace(LOGS[request.param], rounds=20)
