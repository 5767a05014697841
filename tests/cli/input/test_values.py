from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.cli.input.values import duration, format_duration


@given(st.integers(min_value=1, max_value=10**9))
def test_what_is_formatted_reads_back(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("12h", 43_200),
        ("7d", 604_800),
        ("1h30m", 5400),
        (" 1D ", 86_400),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@given(st.text())
def test_any_text_is_a_span_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert duration(text) > timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "h",
        "-1h",
        "1.5h",
        "5x",
        "30m1h",
        "1h1h",
        "0s",
        "٣h",
        "9" * 30 + "d",
        "9" * 5000 + "s",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        duration(text)
