from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.cli.output.formatting import cell, escape, json_line, line
from tests.strategies import json_objects


@given(st.text())
def test_an_escaped_text_is_printable_and_reads_back(text: str) -> None:
    shown = escape(text)
    assert shown.isprintable()
    assert shown.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\tb\nc", "a\\tb\\nc"),
        ("\u202egnp", "\\u202egnp"),
        ("\U000e0041", "\\U000e0041"),
        ("Ω [red] :smile:", "Ω [red] :smile:"),
        ("\\x1b", "\\\\x1b"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(json_objects)
def test_json_is_one_printable_line_of_the_same_value(value: dict[str, object]) -> None:
    text = json_line(value)
    assert text.isprintable()
    assert json.loads(text) == value


@given(st.lists(st.text() | st.none() | st.integers() | json_objects, min_size=1))
def test_a_line_has_as_many_columns_as_the_record(values: list[object]) -> None:
    shown = line({str(at): value for at, value in enumerate(values)})
    assert len(shown.split("\t")) == len(values)
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "2030-01-02T03:04:05.000000Z"),
        (datetime(2030, 1, 2, 3, 4, 5, 120_000, tzinfo=UTC), "2030-01-02T03:04:05.120000Z"),
        (
            datetime(2030, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-2))),
            "2030-01-02T05:04:00.000000Z",
        ),
    ],
)
def test_instants(instant: datetime, text: str) -> None:
    assert cell(instant) == text
    assert json_line({"at": instant}) == f'{{"at":"{text}"}}'


def test_a_duration_is_seconds_in_a_line_and_in_json() -> None:
    assert cell(timedelta(minutes=90)) == "5400.0"
    assert json_line({"ttl": timedelta(minutes=90)}) == '{"ttl":5400.0}'
