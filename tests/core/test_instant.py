"""Instants as text and as arguments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import InvalidSession
from sessionledger.core.instant import (
    later_by,
    microseconds,
    parse_instant,
    rfc3339,
    written,
)
from sessionledger.plain import EPOCH
from tests.sameness import same_instant
from tests.strategies import instants

_read = msgspec.json.Decoder(datetime).decode


@given(instants)
def test_an_instant_survives_its_text_with_its_offset(instant: datetime) -> None:
    assert same_instant(_read(f'"{rfc3339(instant)}"'), instant)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 5, 2, 12, tzinfo=UTC), "2026-05-02T12:00:00Z"),
        (datetime(2026, 5, 2, 12, 0, 0, 500_000, UTC), "2026-05-02T12:00:00.5Z"),
        (datetime(2026, 5, 2, 12, 0, 0, 1, UTC), "2026-05-02T12:00:00.000001Z"),
        (datetime(2026, 5, 2, 12, 0, 10, tzinfo=UTC), "2026-05-02T12:00:10Z"),
        (
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
            "0001-01-01T00:00:00-03:30",
        ),
    ],
)
def test_the_reference_s_notation(instant: datetime, text: str) -> None:
    assert rfc3339(instant) == text


fractions = st.one_of(
    st.integers(0, 999_999), st.integers(0, 6).map(lambda zeros: 10**zeros % 1_000_000)
)


@given(instants, fractions)
def test_what_msgspec_writes_of_it_is_that_text(instant: datetime, fraction: int) -> None:
    instant = instant.replace(microsecond=fraction)
    assert msgspec.json.encode(written(instant)).decode() == f'"{rfc3339(instant)}"'


@given(instants)
def test_a_fixed_offset_is_kept(instant: datetime) -> None:
    assert same_instant(parse_instant("now", instant), instant)


class _Local(tzinfo):
    """Local mean time, with seconds in its offset, as before there were time zones."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(minutes=19, seconds=32)

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "LMT"


def test_an_offset_that_can_t_be_written_becomes_utc() -> None:
    given_at = datetime(1900, 1, 1, tzinfo=_Local())
    parsed = parse_instant("now", given_at)
    assert parsed == given_at
    assert parsed.tzinfo is UTC


def test_a_zone_becomes_its_offset_at_that_instant() -> None:
    """In the hour that happens twice, zone-aware datetimes compare by the clock on the wall."""
    zone = ZoneInfo("Europe/Zurich")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=zone)
    second = first.replace(fold=1)
    assert parse_instant("now", first) < parse_instant("now", second)


@pytest.mark.parametrize("value", [datetime(2026, 5, 2), "2026-05-02", 0, object()])  # noqa: DTZ001
def test_what_names_no_instant_is_refused(value: object) -> None:
    with pytest.raises(InvalidSession) as caught:
        parse_instant("expired_at", value)
    assert caught.value.field == "expired_at"


def test_an_instant_outside_the_calendar_in_utc_is_refused() -> None:
    edge = datetime(1, 1, 1, tzinfo=_Local())
    with pytest.raises(InvalidSession, match="years 1 to 9999"):
        parse_instant("now", edge)


@given(instants, st.timedeltas())
def test_later_by_adds_or_refuses(instant: datetime, span: timedelta) -> None:
    try:
        expected = instant + span
    except OverflowError:
        with pytest.raises(InvalidSession, match="years 1 to 9999"):
            later_by("ttl", instant, span)
    else:
        assert same_instant(later_by("ttl", instant, span), expected)


@given(instants)
def test_microseconds_are_exact(instant: datetime) -> None:
    assert timedelta(microseconds=microseconds(instant)) == instant - EPOCH
