"""Times as they are printed."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given

from sessionledger.timestamps import stamp
from tests.strategies import instants

EARLIEST, LATEST = (bound.replace(tzinfo=UTC) for bound in (datetime.min, datetime.max))  # noqa: DTZ901


@given(instants, instants)
def test_stamps_sort_as_the_instants_do(one: datetime, other: datetime) -> None:
    assert len(stamp(one)) == len(stamp(other))
    if stamp(one) != stamp(other):
        assert (stamp(one) < stamp(other)) == (one < other)


@given(instants)
def test_a_stamp_is_the_instant_in_utc_or_the_last_that_utc_can_write(instant: datetime) -> None:
    told = datetime.fromisoformat(stamp(instant))
    assert told == instant or told in (EARLIEST, LATEST)
