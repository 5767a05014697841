"""No call costs more statements, flushes, bytes or Python calls than are written down."""

from __future__ import annotations

import platform
import re
import sys

import pytest

from tests import postgres_server
from tests.operations import counts
from tests.operations.meters import METERS

LOGS = [
    pytest.param(log, marks=[pytest.mark.middle] if log == "postgresql" else []) for log in METERS
]


@pytest.mark.every_log
@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the counts are those with the row cache, which needs Linux on x86-64",
)
@pytest.mark.parametrize("log", LOGS)
def test_each_call_costs_what_is_written_down(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ""
    if log == "postgresql":
        postgres_server.use_a_server_apart(monkeypatch)
        server = postgres_server.server()
    pinned = {key: told for key, told in counts.pinned().items() if key[0] == log}
    told = counts.differences(pinned, counts.counts(server, [log]))
    assert not told, "\n".join([*told, "say why, and run `make operations`"])


@pytest.mark.parametrize("column", counts.COLUMNS)
def test_one_more_of_anything_is_told(column: str) -> None:
    pinned = counts.pinned()
    key = "postgresql" if column == "trips" else "sqlite", "touch"
    more = pinned | {key: pinned[key] | {column: pinned[key][column] * 1.3}}
    assert len(counts.differences(pinned, more)) == 1


def test_the_page_says_what_was_counted() -> None:
    written = counts.PAGE.read_text()
    assert counted_anywhere(written) == counted_anywhere(counts.page_of(counts.pinned()))


def counted_anywhere(page: str) -> str:
    return re.sub(r"Python 3\.\d+", "Python", page)
