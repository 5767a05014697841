"""The suite that is shipped, on every log of ours: as it is, and through the bridge."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from sessionledger.testing import Harness, conformance
from sessionledger.testing.conformance import LogConformance, RowConformance
from sessionledger.testing.fixtures import Ledger
from tests.logs import in_loops
from tests.logs.conftest import LOGS


@pytest.mark.every_log
class TestLogs(LogConformance):
    @pytest.fixture(params=LOGS)
    def declared(self, request: pytest.FixtureRequest) -> Harness:
        return LOGS[request.param]

    # Readers that never rest take long.

    @pytest.mark.sampled
    def test_no_reader_sees_half_of_a_unit(self, ledger: Ledger) -> None:
        super().test_no_reader_sees_half_of_a_unit(ledger)

    @pytest.mark.sampled
    def test_no_row_is_older_than_what_was_acknowledged(self, ledger: Ledger) -> None:
        super().test_no_row_is_older_than_what_was_acknowledged(ledger)


# A server is dear to ask: each time in one colour, in both where there is time.
IN_LOOPS = [pytest.param(name, marks=[pytest.mark.slow] * (name == "postgresql")) for name in LOGS]


class TestAsyncLogs(
    conformance.NameConformance,
    conformance.IdConformance,
    conformance.EventConformance,
    conformance.CursorConformance,
    conformance.UnitConformance,
    conformance.RuleConformance,
    conformance.RowConformance,
    conformance.ListingConformance,
    conformance.ReaderConformance,
    conformance.ForeignWriterConformance,
    conformance.ProcessConformance,
    conformance.ForkConformance,
    conformance.ExaminationConformance,
    conformance.StoreConformance,
):
    """Each call in a loop of its own: all but the theme that has loops of its own."""

    @pytest.fixture(params=IN_LOOPS)
    def declared(self, request: pytest.FixtureRequest) -> Harness:
        harness = LOGS[request.param]
        return replace(harness, open=partial(in_loops.opened, harness.open))


@pytest.mark.slow
class TestManyRounds(RowConformance):
    @pytest.fixture(params=LOGS)
    def declared(self, request: pytest.FixtureRequest) -> Harness:
        return replace(LOGS[request.param], rounds=20)
