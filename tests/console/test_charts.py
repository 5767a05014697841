"""Charts: what was counted is what is drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sessionledger.console.charts import BOTTOM, HEIGHT, TOP, stacked

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def test_parts_of_a_column_stand_on_each_other() -> None:
    columns = [(MIDNIGHT, {"lapsed": 3, "revoked": 7}), (MIDNIGHT + timedelta(hours=1), {})]
    chart = stacked(columns, ("lapsed", "revoked"), ZoneInfo("UTC"))
    low, high = chart.bars
    assert (low.series, high.series) == ("lapsed", "revoked")
    assert low.y + low.height == HEIGHT - BOTTOM
    assert high.y + high.height == low.y
    assert high.y == TOP, "ten is the end of the axis"
    assert chart.series == {"lapsed": 3, "revoked": 7}


def test_hours_are_those_of_the_viewer() -> None:
    columns = [(MIDNIGHT + timedelta(hours=hour), {"begun": 1}) for hour in range(24)]
    labels = stacked(columns, ("begun",), ZoneInfo("Asia/Kolkata")).hours
    assert [one.text for one in labels] == ["06:30", "12:30", "18:30", "00:30"]


def test_a_series_that_nobody_named_is_drawn_too() -> None:
    chart = stacked([(MIDNIGHT, {"novel": 4000})], (), ZoneInfo("UTC"))
    assert [bar.series for bar in chart.bars] == ["novel"]
    assert chart.values[-1].text == "5000"


def test_a_day_without_anything_has_no_bars() -> None:
    chart = stacked([(MIDNIGHT, {})], ("begun",), ZoneInfo("UTC"))
    assert (chart.bars, chart.series) == ([], {})
