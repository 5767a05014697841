"""The suite that is shipped, where the sessions of the server are not as we would have them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sessionledger import Log, open_log
from sessionledger.testing import Harness, conformance
from sessionledger.testing.conformance import LogConformance
from tests.logs.conftest import LOGS
from tests.logs.postgres import hostile

POSTGRESQL = LOGS["postgresql"]


@pytest.mark.middle
class TestHostileSettings(LogConformance):
    """A role with all settings at once."""

    harness = replace(POSTGRESQL, open=hostile.opened)


@pytest.mark.middle
class TestPooler(LogConformance):
    """PgBouncer in transaction mode, with fewer connections to the server than clients have."""

    harness = replace(POSTGRESQL, open=hostile.opened_through_a_pooler)


def opened_with(setting: str, place: Path) -> Log:
    return open_log(hostile.address(place, setting))


@pytest.mark.slow
class TestEachHostileSetting(
    conformance.IdConformance,
    conformance.EventConformance,
    conformance.CursorConformance,
    conformance.UnitConformance,
    conformance.RuleConformance,
    conformance.MarkConformance,
    conformance.RowConformance,
    conformance.ListingConformance,
    conformance.ForeignWriterConformance,
    conformance.ExaminationConformance,
    conformance.CompactionConformance,
    conformance.StoreConformance,
):
    """Each alone: all but the themes with other processes, which run with all of them at once."""

    @pytest.fixture(params=hostile.SETTINGS)
    def declared(self, request: pytest.FixtureRequest) -> Harness:
        return replace(POSTGRESQL, open=partial(opened_with, request.param))
